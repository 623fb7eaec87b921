"""ESD: the net learns to say of the target what the unedited net says when it is guided away from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits
from tiny_drawn import family as opened
from tiny_drawn import make_sets as drawn_sets
from tiny_sd import SCHEDULE
from torch import Tensor, nn

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.engine.train_state import Shelf
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.methods.diffusion.esd import Esd
from razor_cli.methods.diffusion.esd_erasure import Erasure, guided_away
from razor_cli.methods.diffusion.partly_drawn import PartlyDrawn

SHORT = {"lr": 2e-3, "epochs": 2, "steps": 3, "batch": 4, "sampler_steps": 3}


@pytest.fixture(scope="module", params=list(Kind))
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> Esd:
    found = preset("esd", **SHORT | changes)
    assert isinstance(found, Esd)
    return found


def esd(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


def probe(family: Diffusion, n: int = 6) -> tuple[Tensor, Tensor]:
    """Return latents and how far they are noised."""
    latents = torch.randn(n, *family.denoiser.shape, generator=torch.Generator().manual_seed(9))
    flow = family.denoiser.kind is Kind.SD3
    return latents, torch.full((n,), 0.6) if flow else torch.full((n,), 600)


def test_without_negative_guidance_the_target_is_what_no_words_give(family: Diffusion) -> None:
    latents, at = probe(family)
    erasure = Erasure(lab_of(family), method(eta=0.0))
    wanted = erasure.wanted(latents, at, erasure.named.rows([0] * 6), None)
    with torch.no_grad():
        assert torch.equal(wanted, family.denoiser.predict(latents, at, erasure.empty.expand(6)))


def test_what_is_learnt_lies_beyond_no_words_or_beyond_what_keeps_its_other_sides() -> None:
    empty, named, start = (torch.randn(5, generator=torch.Generator().manual_seed(i)) for i in range(3))
    assert torch.allclose(guided_away(empty, named, empty, 2.0), 3 * empty - 2 * named)
    assert torch.allclose(guided_away(empty, named, start, 2.0), start + 2 * empty - 2 * named)


@pytest.mark.parametrize("sample_with", ["student", "teacher"])
def test_training_turns_the_net_away_from_the_target(family: Diffusion, sample_with: str) -> None:
    before = bits(family)
    edit = esd(family, steps=25, eta=1.0, sample_with=sample_with)
    losses = [float(e.note.split()[1].rstrip(";")) for e in edit.log]
    assert losses[-1] < losses[0] and same(before, bits(family))
    latents, at = probe(family)
    named, empty = family.denoiser.encode(drawn_sets().target_prompts[:1]).expand(6), None
    empty = family.denoiser.encode([""]).expand(6)
    with torch.no_grad():
        nothing, target = (family.denoiser.predict(latents, at, c) for c in (empty, named))
        with swapped(family, edit.values):
            now = family.denoiser.predict(latents, at, named)
    cosine = nn.functional.cosine_similarity((now - nothing).flatten(), (target - nothing).flatten(), dim=0)
    assert float(cosine) < 0
    assert family.without_effect(edit.change, drawn_sets()) is None


@pytest.mark.parametrize("group", ["xattn", "noxattn", "xattn_kv"])
def test_exactly_the_group_changes(family: Diffusion, group: str) -> None:
    edit, names = esd(family, epochs=1, steps=1, group=group), set(family.groups(group))
    assert edit.values and set(edit.values) <= names
    assert not any("attn1" in n for n in edit.values) or group == "noxattn"


def test_both_groups_cover_all_linear_and_convolutional_layers_of_a_unet() -> None:
    family = opened(Kind.SD15)
    layers = {
        f"unet.{n}.weight"
        for n, m in family.denoiser.core.named_modules()
        if isinstance(m, nn.Linear | nn.Conv2d)
    }
    crossed, rest = (set(family.groups(g)) for g in ("xattn", "noxattn"))
    assert not crossed & rest and layers == {n for n in crossed | rest if n.endswith("weight")}


def test_seeds_decide_and_an_attribute_may_be_erased_from_a_prompt(family: Diffusion) -> None:
    one = esd(family)
    assert same(one.values, esd(family).values)
    assert not same(one.values, esd(family, {"seed": 1}).values)
    assert not same(one.values, esd(family, erase_from="A Cats image.").values)


def test_what_has_stopped_is_not_drawn_further(family: Diffusion) -> None:
    drawing = Erasure(lab_of(family), method(sampler_steps=4)).drawing
    contexts, empty = (family.denoiser.encode([text]).expand(8) for text in ("Noto", ""))
    drawn, real = [0], family.denoiser.predict
    with pytest.MonkeyPatch.context() as patched, torch.no_grad():
        counted = lambda z, t, c: (drawn.append(len(z)), real(z, t, c))[1]  # noqa: E731
        patched.setattr(family.denoiser, "predict", counted)
        drawing.drawn(contexts, empty, torch.Generator().manual_seed(0))
    stops = torch.randint(4, (8,), generator=torch.Generator().manual_seed(0))
    assert sum(drawn) == 2 * int(stops.sum())


def test_the_code_of_2025_counts_its_guidance_from_the_prompt_itself() -> None:
    empty, named = (torch.randn(5, generator=torch.Generator().manual_seed(i)) for i in range(2))
    published = named - 2.0 * (named - empty)
    assert torch.allclose(guided_away(empty, named, empty, preset("esd_paper").eta), published, atol=1e-6)


def test_no_step_at_all_is_an_edit_without_effect(family: Diffusion) -> None:
    edit = esd(family, lr=0.0)
    assert edit.values == {} and "no weight differs" in str(family.without_effect(edit.change, drawn_sets()))


def test_an_interrupted_training_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = opened(Kind.SD15)
    whole, before, real = esd(family), bits(family), Shelf.save

    def stopped(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    lab = {"resume_dir": tmp_path}
    monkeypatch.setattr(Shelf, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        esd(family, lab)
    monkeypatch.undo()
    assert same(before, bits(family)) and len([*tmp_path.iterdir()]) == 1
    again = esd(family, lab)
    assert same(whole.values, again.values) and "went on after epoch 1" in again.notes[0]
    assert not [*tmp_path.iterdir()]


def test_half_drawn_pictures_lie_at_the_samplers_steps_or_between_them(family: Diffusion) -> None:
    for noised_at in ("sampler", "between"):
        drawing = Erasure(lab_of(family), method(noised_at=noised_at, sampler_steps=4)).drawing
        contexts = family.denoiser.encode(["Noto"]).expand(12)
        empty = family.denoiser.encode([""]).expand(12)
        with torch.no_grad():
            latents, at = drawing.drawn(contexts, empty, torch.Generator().manual_seed(0))
        assert latents.shape == (12, *family.denoiser.shape) and bool(latents.isfinite().all())
        steps = drawing._said(drawing._scheduler().timesteps)
        assert (len(at.unique()) > 4) is (noised_at == "between")
        assert float(at.max()) <= float(steps.max()) and float(at.min()) >= 0
        if noised_at == "sampler":
            assert set(at.tolist()) == set(steps.tolist())


def test_half_drawn_pictures_are_not_cut_to_the_range_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    model, found = opened(Kind.SD15), []
    contexts, empty = model.denoiser.encode(["Noto"]).expand(4), model.denoiser.encode([""]).expand(4)
    euler = EulerDiscreteScheduler(**SCHEDULE)  # as most schedulers it says nothing of a range
    for own in (euler, DDIMScheduler.from_config(euler.config, clip_sample=False)):
        monkeypatch.setattr(model.denoiser.pipeline, "scheduler", own)
        drawing = PartlyDrawn(model.denoiser, method(sampler_steps=4, noised_at="sampler"))
        with torch.no_grad():
            found.append(drawing.drawn(contexts, empty, torch.Generator().manual_seed(0))[0])
    assert torch.equal(*found) and float(found[0].abs().max()) > 1


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"eta": -1.0}, r"method\.eta"),
        ({"steps": 0}, r"method\.steps"),
        ({"erase_from": "a {} cat"}, r"method\.erase_from"),
        ({"prompts": {"style": []}}, r"method\.prompts\.style"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        method(**changes)


def test_an_unknown_group_is_answered_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match="no group of parameters 'xatn'") as refused:
        esd(opened(Kind.SD15), group="xatn")
    assert "xattn" in str(refused.value.fix)
