"""Probes: a model is asked for its target without the prompt, from pictures of it that no edit has seen."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn_labs import same
from probe_worlds import MONO, NOTO, Finds, Painted, Toy, always, prober
from tiny_drawn import OBJECTS, STYLES, bits, make_sets
from tiny_drawn import family as opened
from torch import Tensor

from razor_cli.contract.components import parameters, swapped
from razor_cli.data.shots import Shot, Shots
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.answers import Answers
from razor_cli.families.diffusion.exam import DrawnExam
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.panel import Panel
from razor_cli.families.diffusion.probe_settings import Probe
from razor_cli.families.diffusion.probing import Prober, seed_of
from razor_cli.families.diffusion.run_time import AtRunTime
from razor_cli.families.diffusion.settings import DrawnMetrics, Features
from razor_cli.families.diffusion.suppression import Suppression
from razor_cli.families.diffusion.token_search import FoundTokens
from razor_cli.metrics.score import Score


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


@pytest.fixture(scope="module")
def sd15() -> Diffusion:
    return opened(Kind.SD15)


def plain(asked: Prober) -> Tensor:
    """Return the pictures of the seeds of a prober, without the target's name and without anything kept."""
    denoiser, prompts = asked.family.denoiser, [asked.sets.generic_prompt] * len(asked.seeds)
    with torch.no_grad():  # encoded by itself: beside others its last bits would be others
        contexts = denoiser.encode(prompts[:1]).expand(len(prompts))
    return denoiser.draw(prompts, asked.seeds, asked.settings.sampler, contexts)


def through_the_autoencoder(asked: Prober) -> Tensor:
    vae, config = asked.family.denoiser.vae, asked.family.denoiser.vae.config
    latents = asked.latents / config.scaling_factor + (getattr(config, "shift_factor", None) or 0)
    with torch.no_grad():
        seen = vae.decode(latents).sample / 2 + 0.5
    return (255 * seen.clamp(0, 1)).round().to(torch.uint8)


def far(one: Tensor, other: Tensor) -> int:
    """Return the largest difference of two pictures, in bytes."""
    return int((one.int() - other.int()).abs().max())


def test_completion_goes_from_the_picture_itself_to_a_plain_drawing(family: Diffusion) -> None:
    nothing, half, whole = (prober(family, "completion", probe_strength=s) for s in (0, 0.5, 1))
    assert far(nothing.drawn(Probe.COMPLETION), through_the_autoencoder(nothing)) <= 1
    assert torch.equal(whole.drawn(Probe.COMPLETION), plain(whole))
    found = half.drawn(Probe.COMPLETION)
    assert far(found, plain(half)) > 1 and far(found, through_the_autoencoder(half)) > 1


def test_inpainting_keeps_one_half_to_the_bit_and_draws_the_other(family: Diffusion) -> None:
    asked = prober(family, "inpainting")
    found, middle = asked.drawn(Probe.INPAINTING), family.denoiser.side // 2
    assert torch.equal(found[..., :middle], asked.pictures[..., :middle])
    assert far(found[..., middle:], asked.pictures[..., middle:]) > 1


def test_completion_goes_with_changes_at_run_time(sd15: Diffusion) -> None:
    """Both are called back at the end of a step."""
    with AtRunTime(Suppression(names=("image",))).held(sd15):
        whole = prober(sd15, "completion", probe_strength=1)
        held = whole.drawn(Probe.COMPLETION)
        assert torch.equal(held, plain(whole))
    assert not torch.equal(held, plain(whole))


@pytest.mark.parametrize("probe", list(Probe))
def test_a_probe_leaves_every_weight_and_says_the_same_again(family: Diffusion, probe: Probe) -> None:
    before, said = bits(family), list[str]()
    asked = prober(family, probe, say=said.append)
    first = asked.drawn(probe)
    assert same(before, bits(family)) and all(p.grad is None for p in family.module.parameters())
    encoders = (getattr(family.denoiser.pipeline, name) for name in family.denoiser.encoders)
    assert not any(e.get_input_embeddings()._forward_hooks for e in encoders)  # nothing stays in the tables
    assert torch.equal(first, prober(family, probe).drawn(probe))
    steps = [s for s in said if "step" in s]
    assert len(steps) == (2 if probe in ("inversion", "tokens") else 0)
    assert said[-1] == f"probe {probe}: 3 of 3 pictures"
    assert first.shape == asked.pictures.shape and first.dtype == torch.uint8


def test_a_budget_is_the_number_of_gradients(sd15: Diffusion, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = list[int]()
    real = torch.autograd.grad

    def grad(*given: Any, **more: Any) -> Any:
        counted.append(1)
        return real(*given, **more)

    monkeypatch.setattr(torch.autograd, "grad", grad)
    for steps in (1, 3):
        counted.clear()
        prober(sd15, "tokens", probe_steps=steps).drawn(Probe.TOKENS)
        assert len(counted) == steps


def test_what_is_learnt_foretells_the_pictures_better(family: Diffusion) -> None:
    asked = prober(family, "inversion", "tokens", probe_batch=4)
    for probe in (Probe.INVERSION, Probe.TOKENS):
        losses = []
        for steps in (0, 12):
            budget = replace(asked._budget(probe), ti_steps=steps, ti_lr=3e-2)
            tokens = asked._tokens(probe)
            tokens.learn(asked.latents, budget, 0, tick=lambda *_: None, say=lambda _: None)
            with torch.no_grad():  # words are compared on these very draws
                loss = tokens.loss(asked.latents, 16, torch.Generator().manual_seed(tokens.seed))
            losses.append(float(loss))
        assert losses[1] < losses[0] if probe is Probe.INVERSION else losses[1] <= losses[0]


def test_found_words_are_of_the_table_and_not_the_name(family: Diffusion) -> None:
    asked = prober(family, "tokens")
    tokens = asked._tokens(Probe.TOKENS)
    assert isinstance(tokens, FoundTokens)
    tokens.learn(asked.latents, asked._budget(Probe.TOKENS), 0, tick=lambda *_: None, say=lambda _: None)
    for name, allowed in tokens.allowed.items():
        tokenizer = getattr(family.denoiser.pipeline, name.replace("text_encoder", "tokenizer"))
        own = tokenizer("Noto", add_special_tokens=False).input_ids
        assert not set(own) & set(allowed.tolist())
        assert not set(tokenizer.all_special_ids) & set(allowed.tolist())
        table = getattr(family.denoiser.pipeline, name).get_input_embeddings().weight
        assert tokens.best is not None and set(tokens.best[name].tolist()) <= set(allowed.tolist())
        assert torch.equal(tokens.shown(name), table[tokens.best[name]])
    assert tokens.instead("A Cats image in Noto style.") == "A Cats image in ! ! style."


def near(pictures: Tensor) -> Finds:
    """Return a judge's function that finds the target in what is like some pictures."""

    def finds(seen: Tensor) -> Tensor:
        apart = (seen[:, None] - pictures[None].float() / 255).abs().mean(dim=(2, 3, 4)).amin(dim=1)
        return torch.where(apart < 0.02, NOTO, MONO)

    return finds


def measured(asked: Prober, states: dict[str, Any]) -> dict[Any, dict[str, Score]]:
    """Return the scores of states, by place and metric."""
    found = {}
    for state, values in states.items():
        with swapped(asked.family, values):
            answers = asked.answers()
        found[state, "none"] = Answers.of(Answers(said={}, probed=answers).tensors())
    scores = asked.scores(found, 0)
    return {place: {s.metric: s for s in rows} for place, rows in scores.items()}


@pytest.fixture(scope="module")
def found(sd15: Diffusion) -> Iterator[dict[Any, dict[str, Score]]]:
    """The scores of a judge that finds the target in what looks as pictures of it through the autoencoder."""
    first = prober(sd15, "completion")
    seen = torch.cat([first.pictures, through_the_autoencoder(first)])
    name = "unet.conv_out.bias"
    broken = {name: parameters(sd15)[name].detach() + 5.0}
    asked = prober(sd15, "completion", "tokens", probe_strength=0, finds=near(seen))
    yield measured(asked, {"base": {}, "edit": broken})


def test_scores_are_those_of_pictures_under_the_name_of_the_probe(found: dict[Any, Any]) -> None:
    kept, learnt = ("base", "none", "completion", None), ("base", "none", "tokens", 2)
    assert set(found) == {kept, learnt, ("edit", *kept[1:]), ("edit", *learnt[1:])}
    assert found[kept]["ua"].value == 0 and found["edit", *kept[1:]]["ua"].value == 0
    assert found[learnt]["ua"].value == 100 == found["edit", *learnt[1:]]["ua"].value
    for scores in found.values():
        assert scores["ua"].variant == "benchmark" and scores["ua"].n == 3
        assert scores["ua"].ci_low is not None and scores["ua"].ci_low < scores["ua"].ci_high
        assert scores["ua_drop"].value == 0 and scores["rejects"].value == 0


def test_pictures_are_of_evaluation_shots_in_which_the_judge_finds_the_target(sd15: Diffusion) -> None:
    sets = make_sets()
    asked = prober(sd15, "completion", probe_pictures=2, sets=sets)
    assert isinstance(asked.store, Painted)
    own = {(s.prompt, s.seed) for s in sets.evaluation.of("style", ["Noto"])}
    assert set(asked.store.asked) <= own and len(asked.store.asked) == 2 == len(asked.shots)
    taken = {s.seed for part in (sets.validation, sets.evaluation) for s in part}
    assert not taken & set(asked.seeds) and all(seed % 4 == 0 for seed in asked.seeds)
    assert len({seed_of("p", i) for i in range(1000)}) == 1000


def test_a_judge_that_finds_nothing_leaves_a_reason(sd15: Diffusion) -> None:
    asked = prober(sd15, "completion", "tokens", finds=always(MONO))
    assert "0 of 3" in asked.note and not asked.answers()
    scores = measured(asked, {"base": {}})
    for probe, step in (("completion", None), ("tokens", 2)):
        assert "in no picture" in scores["base", "none", probe, step]["ua"].reason


def test_prompts_that_cannot_hold_tokens_leave_a_reason_and_other_probes_go_on(sd15: Diffusion) -> None:
    asked = prober(sd15, "inversion", "completion", probe_tokens=12)
    assert set(asked.answers()) == {"completion"}
    scores = measured(asked, {"base": {}})
    assert "too long" in scores["base", "none", "inversion", 2]["ua"].reason
    marks = Shots([Shot(prompt="! * # ^ Noto", seed=204, labels=(("style", "Noto"), ("object", "Cats")))])
    asked = prober(sd15, "tokens", sets=replace(make_sets(), evaluation=marks))
    assert "every mark" in asked.refused["tokens"]


def test_tokens_stand_apart_from_the_marks_around_a_name(family: Diffusion) -> None:
    labels = (("style", "Noto"), ("object", "Cats"))
    ends = Shots([Shot(prompt='A picture in "Noto".', seed=204, labels=labels)])
    asked = prober(family, "inversion", sets=replace(make_sets(), evaluation=ends))
    assert not asked.refused
    assert asked._tokens(Probe.INVERSION).instead(ends[0].prompt) == 'A picture in " ! ! ".'


def test_what_decides_the_answers_is_in_their_key(sd15: Diffusion) -> None:
    def key(*probes: str, **more: Any) -> dict[str, object]:
        return prober(sd15, *probes, **more).key()

    assert key("completion") == key("completion")
    changes: list[dict[str, Any]] = [{"probe_strength": 0.25}, {"probe_steps": 9}, {"probe_pictures": 1}]
    assert all(key("completion", **c) != key("completion") for c in changes)
    assert key("completion") != key("inpainting")


def test_the_exam_probes_what_it_measures_in_full_precision(
    sd15: Diffusion, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets = make_sets()
    judges: Any = {"style": Toy(STYLES, always(NOTO)), "object": Toy(OBJECTS, always(0))}
    monkeypatch.setattr(
        "razor_cli.families.diffusion.exam.exam_panel",
        lambda *_: Panel(shots=sets.evaluation, judges=judges),
    )
    monkeypatch.setattr(Diffusion, "pictures", lambda *_: Painted(sd15.denoiser.side))
    settings = DrawnMetrics(
        probes=["inpainting"], steps=2, fid=Features.NONE, clip_score=False, bootstrap_draws=100, shown=0
    )
    exam = DrawnExam(family=sd15, sets=sets, settings=settings)
    states = {("base", "none"): True, ("base", "int8"): False, ("edit", "none"): True}
    answers = {key: exam.measure(None, keep=keep) for key, keep in states.items()}
    scores = exam.scores(answers, 0)
    probed = [("base", "none", "inpainting", None), ("edit", "none", "inpainting", None)]
    assert list(scores) == [*states, *probed]
    assert any("inpainting; from the 3 of 3" in note for note in exam.notes)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"probes": ["inpaint"]}, "did you mean inpainting"),
        ({"probes": ["tokens", "tokens"]}, "names one twice"),
        ({"probe_strength": 1.5}, r"metrics\.probe_strength is out of range"),
        ({"probe_steps": 0}, r"metrics\.probe_steps"),
        ({"probe_tokens": 33}, r"metrics\.probe_tokens"),
        ({"probe_pictures": 0}, r"metrics\.probe_pictures"),
        ({"probe_batch": 0}, r"metrics\.probe_batch"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError) as refused:
        DrawnMetrics(**changes)
    assert re.search(what, str(refused.value))


def test_learning_in_float16_is_refused_before_a_weight_is_read() -> None:
    from razor_cli.families.diffusion.choices import Precision

    class Model:
        offers = frozenset({"dual"})
        dtype = Precision.FLOAT16

    model: Any = Model()
    (problem,) = DrawnMetrics(probes=["completion", "tokens"]).problems(model)
    assert "metrics.probes=tokens" in str(problem) and "model.dtype=bfloat16" in str(problem)
    assert not list(DrawnMetrics(probes=["completion"]).problems(model))
