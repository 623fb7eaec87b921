"""SEOT: words leave a prompt's context while pictures are drawn, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets
from torch import Tensor

from razor_cli.contract.family import RUNTIME
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.acting import Moment, rewritten, shares_done
from razor_cli.families.diffusion.choices import Gate, PooledVector, Reweighting
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.ito import Ito, Kinds, _maps
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.families.diffusion.run_time import AtRunTime
from razor_cli.families.diffusion.suppression import Suppression, sections, suppressed

QUICK = Sampler(steps=5, guidance=3.0, batch=2)
PROMPTS = ["A Cats image in Noto style.", "A Cats image in Mono style."]


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def suppression(**changes: Any) -> Suppression:
    return Suppression(**{"names": ("Noto",)} | changes)


def rows(n: int = 6, width: int = 9) -> Tensor:
    return torch.randn(n, width, generator=torch.Generator().manual_seed(0))


def late(n: int = 2) -> Moment:
    return Moment(done=torch.full((n,), 0.5))


@pytest.mark.parametrize("form", [Reweighting.SOFT, Reweighting.TOP])
def test_nothing_is_taken_out_where_alpha_is_zero(form: Reweighting) -> None:
    assert torch.allclose(suppressed(rows(), 0.0, form), rows(), atol=1e-5)


def test_every_singular_value_shrinks_as_published_and_more_with_a_larger_alpha() -> None:
    before = torch.linalg.svdvals(rows())
    found = [suppressed(rows(), alpha, Reweighting.SOFT) for alpha in (0.1, 0.5, 2.0)]
    norms = [float(f.norm()) for f in found]
    assert norms == sorted(norms, reverse=True) and norms[0] < float(before.norm())
    for alpha, now in zip((0.1, 0.5, 2.0), found, strict=True):
        wanted = (before * torch.exp(-alpha * before)).sort(descending=True).values
        assert torch.allclose(torch.linalg.svdvals(now), wanted, atol=1e-5)
        assert bool((wanted < before).all())


def test_the_other_forms_scale_rows_or_cut_a_share_of_the_values() -> None:
    values = torch.linalg.svdvals(rows())
    assert torch.equal(suppressed(rows(), 0.3, Reweighting.WEIGHT), 0.3 * rows())
    top = torch.linalg.svdvals(suppressed(rows(), 0.5, Reweighting.TOP))
    rest = torch.linalg.svdvals(suppressed(rows(), 0.5, Reweighting.REST))
    assert torch.allclose(top[:3], values[3:], atol=1e-5) and float(top[3:].max()) < 1e-5
    assert torch.allclose(rest[:3], values[:3], atol=1e-5) and float(rest[3:].max()) < 1e-5


def test_rows_of_other_words_and_other_prompts_stay_to_the_bit(family: Diffusion) -> None:
    denoiser = family.denoiser
    plain = denoiser.encode(PROMPTS)
    with AtRunTime(suppression()).held(family):
        found = rewritten(denoiser, denoiser.encode(PROMPTS), late())
    assert torch.equal(found.tokens[1], plain.tokens[1])
    ids = denoiser.pipeline.tokenizer(PROMPTS[0]).input_ids
    word = ids.index(denoiser.pipeline.tokenizer("Noto", add_special_tokens=False).input_ids[0])
    moved = (found.tokens[0] != plain.tokens[0]).any(dim=1).nonzero()[:, 0].tolist()
    length = denoiser.pipeline.tokenizer.model_max_length
    assert moved == [word, *range(len(ids) - 1, length)]  # of SD3 not what stands in T5's place
    if plain.pooled is not None and found.pooled is not None:
        assert torch.equal(plain.pooled, found.pooled)


def test_each_encoder_of_sd3_is_taken_by_itself_and_its_vector_may_be_that_of_no_words() -> None:
    family = opened(Kind.SD3)
    denoiser = family.denoiser
    plain = denoiser.encode(PROMPTS)
    with AtRunTime(suppression(pooled=PooledVector.EMPTY)).held(family):
        found = rewritten(denoiser, denoiser.encode(PROMPTS), late())
    (here, first), (_, second) = sections(denoiser, plain.tokens.shape[1])
    assert (first, second) == (slice(0, 32), slice(32, 56))
    own = (found.tokens[0] != plain.tokens[0]).any(dim=1).nonzero()[:, 0]
    for channels in (first, second):
        wanted = suppressed(plain.tokens[0, own, channels], 1.0, Reweighting.SOFT)
        assert torch.allclose(found.tokens[0, own, channels], wanted, atol=1e-6) and here.stop == 16
    assert plain.pooled is not None and found.pooled is not None
    empty = denoiser.encode([""]).pooled
    assert empty is not None and torch.equal(found.pooled[0], empty[0])
    assert torch.equal(found.pooled[1], plain.pooled[1])


@pytest.mark.parametrize(
    ("gate", "wanted"),
    [
        (Gate.ORACLE, [True, True, False, True, False]),
        (Gate.SUBSTRING, [True, False, False, False, True]),
        (Gate.ALWAYS, [True] * 5),
    ],
)
def test_the_gate_says_which_prompts_are_touched(gate: Gate, wanted: list[bool]) -> None:
    asked = ["a Van Gogh cat", "a van_gogh cat", "a cat", "the starry one", "a cat by Van Goghs"]
    actor = Suppression(names=("Van Gogh", "Vincent"), prompts=("the starry one",), gate=gate)
    assert [actor.touches(p) for p in asked] == wanted


def test_the_first_steps_are_drawn_as_they_were(family: Diffusion) -> None:
    denoiser, flow = family.denoiser, family.denoiser.kind is Kind.SD3
    latents = torch.randn(2, *denoiser.shape, generator=torch.Generator().manual_seed(1))
    answers = {}
    early, later = (0.95, 0.9) if flow else (0.9, 0.7)  # a shift of 3 has 0.92 after a fifth of the steps
    for at in (early, later):
        told = torch.full((2,), at) if flow else torch.full((2,), int(1000 * at))
        with torch.no_grad():
            plain = denoiser.predict(latents, told, denoiser.encode(PROMPTS))
            with AtRunTime(suppression()).held(family):
                answers[at] = plain, denoiser.predict(latents, told, denoiser.encode(PROMPTS))
    assert torch.equal(*answers[early])
    assert not torch.equal(answers[later][0][0], answers[later][1][0])
    assert torch.equal(answers[later][0][1], answers[later][1][1])


def test_how_far_a_flow_is_is_told_by_its_noise_as_by_its_steps() -> None:
    denoiser = opened(Kind.SD3).denoiser
    denoiser.pipeline.scheduler.set_timesteps(50)
    noise = denoiser.pipeline.scheduler.sigmas[:50]
    assert torch.allclose(shares_done(denoiser, noise), torch.arange(50) / 50, atol=0.025)


@pytest.mark.parametrize("said", ["Van Gogh", "van gogh", "Van  Gogh", "van_gogh", "Van-Gogh", "VAN GOGH,"])
def test_every_spelling_that_opens_the_gate_has_rows(family: Diffusion, said: str) -> None:
    actor, denoiser = suppression(names=("Van Gogh",)), family.denoiser
    prompts = [f"a {said} cat", "a cat"]
    assert [actor.touches(p) for p in prompts] == [True, False]
    length = denoiser.encode_plain([""]).tokens.shape[1]
    marks = actor.marked(denoiser, prompts, denoiser.encode_plain(prompts))
    ids = denoiser.pipeline.tokenizer(prompts[0]).input_ids
    own = denoiser.pipeline.tokenizer(said.rstrip(","), add_special_tokens=False).input_ids
    at = ids.index(own[0])
    assert ids[at : at + len(own)] == own
    assert marks[0, 1 : 1 + length].nonzero()[:, 0].tolist() == list(range(at, at + len(own)))
    assert not marks[1, : 1 + length].any() and not actor.unfound(denoiser, prompts)


def test_parts_of_words_go_with_their_words_and_what_is_not_found_is_told(family: Diffusion) -> None:
    actor = suppression(names=("Noto",), gate=Gate.SUBSTRING)
    assert actor.spoken("a Notos cat, noto") == ["Notos", "noto"]
    assert not actor.unfound(family.denoiser, ["a Notos cat"])
    other = suppression(prompts=("the starry one",))
    assert other.unfound(family.denoiser, ["the starry one", *PROMPTS]) == ["the starry one"]
    sets = replace(drawn_sets(), aliases=(), called="nothing of the kind")
    notes = preset("seot").edit(lab_of(family, sets=sets)).notes
    assert "is found in" in notes[-1] and "end marks" in notes[-1]
    assert len(preset("seot").edit(lab_of(family)).notes) == 1


def drawn(family: Diffusion) -> Tensor:
    return family.pictures(None).pictures(PROMPTS, [1, 2], QUICK).float()


def test_pictures_of_the_target_change_and_nothing_of_the_model(family: Diffusion) -> None:
    before, plain = bits(family), drawn(family)
    change = AtRunTime(suppression())
    with change.held(family):
        found = drawn(family)
        with AtRunTime(suppression(names=("Mono",))).held(family):  # changes nest
            both = drawn(family)
    assert torch.equal(drawn(family), plain) and same(before, bits(family))
    moved = [not torch.equal(a, b) for a, b in zip(plain, found, strict=True)]
    assert moved == [True, False] and not torch.equal(both[1], plain[1])
    assert change.kind == RUNTIME and change.tensors() == {}
    assert "no size" in change.random_like(family, 0) and not family.denoiser.acting


def test_a_change_from_the_first_step_on_is_there_in_the_first_step(family: Diffusion) -> None:
    with AtRunTime(suppression(start=0.0)).held(family):
        whole = drawn(family)
    with AtRunTime(suppression(start=1.0)).held(family):
        never = drawn(family)
    with AtRunTime(suppression(start=0.2)).held(family):
        later = drawn(family)
    assert torch.equal(never, drawn(family)) and not torch.equal(whole[0], later[0])


def test_contexts_from_before_are_refused_while_something_acts(family: Diffusion) -> None:
    denoiser = family.denoiser
    early = denoiser.encode(PROMPTS)
    latents = torch.zeros(2, *denoiser.shape)
    with AtRunTime(suppression()).held(family), pytest.raises(RuntimeError, match="were encoded before"):
        denoiser.predict(latents, torch.full((2,), 0.5), early)


def test_gradient_steps_bring_maps_of_other_words_back() -> None:
    family = opened(Kind.SD15)
    denoiser, ito = family.denoiser, Ito(iterations=6, scale=2.0, erase=0.0)
    latents = torch.randn(2, *denoiser.shape, generator=torch.Generator().manual_seed(1))
    moment = Moment(
        done=torch.full((2,), 0.3), latents=latents, at=torch.tensor([700, 700]), step=3, steps=10
    )
    plain = denoiser.encode(PROMPTS)
    with torch.no_grad(), AtRunTime(suppression()).held(family):
        marks = denoiser.encode(PROMPTS).marks[0]
        alone = rewritten(denoiser, denoiser.encode(PROMPTS), moment)
    with torch.no_grad(), AtRunTime(suppression(ito=ito)).held(family):
        moved = rewritten(denoiser, denoiser.encode(PROMPTS), moment)
        again = rewritten(denoiser, denoiser.encode(PROMPTS), moment)
    assert torch.equal(moved.tokens, again.tokens) and torch.equal(moved.tokens[1], plain.tokens[1])
    words, ends = marks[:1, 1:].chunk(2, dim=1)
    kinds = Kinds.of(words, ends)
    with torch.no_grad():
        wanted, one, other = (
            _maps(denoiser, latents[:1], torch.tensor([700]), replace(c, marks=()).rows([0]), 16)
            for c in (plain, alone, moved)
        )
        places = kinds.places(wanted[0])
        losses = [float(ito.loss(wanted, found, kinds, places)) for found in (one, other)]
    assert losses[1] < losses[0]


def test_gradient_steps_have_their_own_share_of_the_sampler() -> None:
    due = [i for i in range(50) if Ito().due(Moment(done=torch.zeros(1), step=i, steps=50), 0.2)]
    assert due == list(range(10, 20))
    assert not Ito().due(Moment(done=torch.zeros(1)), 0.0)  # where nothing is drawn


def test_the_method_changes_no_weight_and_says_what_it_does(family: Diffusion) -> None:
    edit = preset("seot_paper").edit(lab_of(family))
    assert edit.values == {} and not edit.components and "nothing is stored" in edit.notes[0]
    assert ("gradients" in edit.notes[0]) is (family.denoiser.kind is Kind.SD15)
    assert family.without_effect(edit.change, drawn_sets()) is None
    idle = preset("seot", reweighting="weight", alpha=1.0).edit(lab_of(family))
    assert "does not" in str(family.without_effect(idle.change, drawn_sets()))


def test_published_settings() -> None:
    paper, canvas = preset("seot_paper"), preset("seot_canvas")
    for found in (paper, canvas):
        assert (found.reweighting, found.alpha, found.start, found.ito) == ("soft", 1.0, 0.2, "auto")
        assert (found.ito_iterations, found.ito_until * 50, found.ito_scale) == (10, 20, 20.0)
        assert (found.ito_retain, found.ito_erase, found.ito_side) == (1.0, -0.5, 16)
    assert (paper.gate, canvas.gate) == ("always", "oracle")


def test_gradient_steps_are_refused_for_a_net_without_such_maps() -> None:
    with pytest.raises(ConfigError, match="needs a UNet"):
        preset("seot", ito="on").edit(lab_of(opened(Kind.SD3)))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"start": 1.5}, r"method\.start"),
        ({"reweighting": "alpha", "alpha": 2.0}, r"method\.alpha"),
        ({"ito_iterations": 0}, r"method\.ito_iterations"),
        ({"gate": "never"}, r"method\.gate"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        preset("seot", **changes)
