"""SalUn on a net: the mask, what stays outside of it, what forget pictures are learnt as (sheet 3.5)."""

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

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit
from razor_cli.dual.mask import top_fraction
from razor_cli.errors import ConfigError, RunError
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.methods.diffusion.relearning import Lessons, in_place
from razor_cli.methods.diffusion.salun import DrawnSalun

SHORT = {"lr": 1e-3, "epochs": 2, "pictures": 3, "batch": 3}


@pytest.fixture(scope="module", params=list(Kind), ids=str)
def family(request: pytest.FixtureRequest) -> Diffusion:
    return opened(request.param)


def method(**changes: Any) -> DrawnSalun:
    found = preset("salun", "diffusion", **SHORT | changes)
    assert isinstance(found, DrawnSalun)
    return found


def salun(family: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    return method(**changes).edit(lab_of(family, **lab or {}))


def mask_of(family: Diffusion, **changes: Any) -> dict[str, Tensor]:
    settings = method(**changes)
    lessons = Lessons(lab_of(family), settings)
    found = lessons.summed_gradient(settings.trained(family), None, settings.mask_guidance)
    return top_fraction({n: g.abs() for n, g in found.items()}, settings.mask_fraction)


def test_weights_outside_the_mask_keep_their_bits(family: Diffusion) -> None:
    fraction = 0.4
    before, mask = bits(family), mask_of(family, mask_fraction=fraction)
    count = sum(m.numel() for m in mask.values())
    assert sum(int(m.sum()) for m in mask.values()) == int(fraction * count)  # ties are cut
    assert set(mask) == set(family.groups("xattn"))
    edit = salun(family, mask_fraction=fraction, weight_decay=0.0)
    assert same(before, bits(family)) and set(edit.values) <= set(mask)
    moved = 0
    for name, value in edit.values.items():
        assert torch.equal(value[~mask[name]], before[name][~mask[name]])
        moved += int((value != before[name]).sum())
    assert moved > 0.8 * fraction * count
    assert f"the mask leaves {int(fraction * count)} of {count} weights" in edit.notes


def test_a_full_mask_is_the_method_without_one(family: Diffusion) -> None:
    whole = salun(family, mask_fraction=1.0, first_batch=True)
    assert same(whole.values, salun(family, reference_bugs=True).values)
    assert not same(whole.values, salun(family, mask_fraction=0.5, first_batch=True).values)
    assert salun(family, mask_fraction=0.0).values == {}


def test_the_mask_ranks_by_the_gradient_of_the_guided_prediction(family: Diffusion) -> None:
    """The gradient of the plain loss is that of guidance 0, and with guidance no words take part."""
    settings = method(batch=6)
    lab = lab_of(family)
    lessons, names = Lessons(lab, settings), settings.trained(family)
    found = lessons.summed_gradient(names, None, 7.5)
    with family.denoiser.asking(names) as live, torch.enable_grad():
        batch = lessons.forget.noised(torch.arange(6), lab.generator())
        contexts = [family.denoiser.encode([text]) for text in [*drawn_sets().forget.captions, ""]]
        named, empty = type(contexts[0]).cat(contexts[:-1]), contexts[-1].expand(6)
        says = [family.denoiser.predict(batch.latents, batch.at, c) for c in (named, empty)]
        loss = (8.5 * says[0] - 7.5 * says[1] - batch.target).square().mean()
        wanted = torch.autograd.grad(6 * loss, [live[n] for n in names], allow_unused=True)
    for name, gradient in zip(names, wanted, strict=True):
        assert torch.allclose(
            found[name], torch.zeros_like(found[name]) if gradient is None else gradient, atol=1e-4, rtol=1e-3
        )


def test_gradients_that_are_not_numbers_make_no_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Lessons.shown
    monkeypatch.setattr(Lessons, "shown", lambda *given: float("inf") * real(*given))
    with pytest.raises(RunError, match="not numbers") as caught:
        salun(opened(Kind.SD15))
    assert "model.dtype=float32" in caught.value.message()


def test_forget_pictures_come_to_be_what_stands_in_their_place(family: Diffusion) -> None:
    lessons = Lessons(lab_of(family), method())
    index, generator = torch.arange(6), torch.Generator().manual_seed(5)
    batch = lessons.forget.noised(index, generator)

    def gap() -> float:
        with torch.no_grad():
            named, other = (
                family.denoiser.predict(batch.latents, batch.at, c)
                for c in (lessons.named(index), lessons.prompts.of(lessons.instead(index, index)))
            )
        return float((named - other).square().mean())

    before = gap()
    edit = salun(family, lr=3e-3, epochs=5, alpha=0.0, mask_fraction=1.0, pictures=6)
    with swapped(family, edit.values):
        assert gap() < 0.9 * before
    losses = [float(e.note.split()[1].rstrip(";")) for e in edit.log]
    assert losses[-1] < losses[0]
    assert family.without_effect(edit.change, drawn_sets()) is None


def test_what_stands_in_the_targets_place() -> None:
    sets = drawn_sets()
    captions = sets.forget.captions
    assert in_place(captions, sets, None) == ["An image."] * 6
    assert in_place(captions[:1], sets, "Mono") == ["A Cats image in Mono style."]
    own = replace(sets, anchor_prompts=("one", "two", "three"))
    assert in_place(captions, own, None) == ["one", "one", "two", "two", "three", "three"]
    lessons = Lessons(lab_of(opened(Kind.SD15)), method(stands_in="retain"))
    index, beside = torch.tensor([0, 5]), torch.tensor([3, 1])
    assert lessons.instead(index, beside) == [sets.retain.captions[3], sets.retain.captions[1]]
    assert Lessons(lab_of(opened(Kind.SD15)), method(erase_from="An image.")).own == ("An image.",) * 6


def test_nothing_is_learnt_where_both_prompts_are_one(family: Diffusion) -> None:
    lessons = Lessons(lab_of(family), method(anchor="Noto"))
    names = method().trained(family)
    with family.denoiser.asking(names) as live, torch.enable_grad():
        loss = lessons.relabelled(torch.arange(3), torch.arange(3), torch.Generator().manual_seed(0))
        found = torch.autograd.grad(loss, list(live.values()), allow_unused=True)
    assert float(loss.detach()) == 0
    assert all(g is None or float(g.abs().max()) == 0 for g in found)


def test_the_reference_sees_the_first_pictures_only() -> None:
    generator = torch.Generator().manual_seed(0)
    lessons = Lessons(lab_of(opened(Kind.SD15)), method(pictures=6, batch=2))
    first = Lessons(lab_of(opened(Kind.SD15)), method(pictures=6, batch=2, first_batch=True))
    seen = torch.cat([f for f, _ in lessons.batches(generator)])
    assert sorted(seen.tolist()) == list(range(6))
    assert [f.tolist() for f, _ in first.batches(generator)] == [[0, 1]] * 3
    assert [r.tolist() for _, r in first.batches(generator)] == [[0, 1]] * 3


def test_seeds_decide_and_settings_do() -> None:
    family = opened(Kind.SD15)
    one = salun(family)
    assert same(one.values, salun(family).values)
    cases: tuple[dict[str, Any], ...] = (
        {"stands_in": "retain"},
        {"erase_from": "An image in Mono style."},
        {"anchor": "Mono"},
    )
    for changes in cases:
        assert not same(one.values, salun(family, **changes).values)
    assert not same(one.values, salun(family, {"seed": 1}).values)


def test_the_family_of_the_model_decides_which_salun_it_is() -> None:
    assert type(preset("salun", "clip")).__module__ == "razor_cli.methods.salun"
    assert type(preset("salun_paper", "llava")).__module__ == "razor_cli.methods.salun"
    assert preset("salun", "llava").target["m1"] is None
    canvas, paper = preset("salun_canvas"), preset("salun_paper", "diffusion")
    assert (canvas.mask_fraction, canvas.alpha, canvas.epochs, canvas.batch) == (0.4, 1.0, 2, 4)
    assert (paper.mask_fraction, paper.alpha, paper.epochs, paper.batch, paper.lr) == (0.5, 0.1, 5, 8, 1e-5)
    assert canvas.group == "xattn" and canvas.lr == 1e-5 and not canvas.reference_bugs


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"mask_fraction": 1.5}, r"method\.mask_fraction"),
        ({"alpha": -1.0}, r"method\.alpha"),
        ({"pictures": 0}, r"method\.pictures"),
        ({"anchor": "a {}"}, r"method\.anchor"),
        ({"anchor": "Mono", "stands_in": "retain"}, r"method\.anchor: with method\.stands_in=retain"),
        ({"erase_from": "a {} cat"}, r"method\.erase_from"),
    ],
)
def test_settings_out_of_range_are_refused(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        method(**changes)
