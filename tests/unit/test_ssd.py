"""SSD: what is selected and how it shrinks (sheet section 4)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run
from torch import Tensor

from razor_cli.contract.edit import Edit
from razor_cli.data.sets import Pairs
from razor_cli.dual.desk import Desk
from razor_cli.dual.importance import importance_sum
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import Trained
from razor_cli.errors import ConfigError
from razor_cli.methods.ssd import Loss, dampened, loss_of, selected

EMPTY = Pairs((), {})


def edit_of(sets: Any = None, **changes: Any) -> Edit:
    model, sets = make_clip(), sets or make_sets()
    return run(preset("ssd", **changes), model, sets)


def moved(edit: Edit) -> dict[str, Tensor]:
    stored = make_clip().stored
    return {n: v != stored[n] for n, v in edit.values.items()}


def importances() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    forget, reference = torch.rand(2, 1000, generator=generator) ** 6
    forget[:10] = reference[:10] = reference[10:20] = forget[20:30] = 0
    return torch.randn(1000, generator=generator), forget, reference


@pytest.mark.parametrize("dampening", [0.0, 0.5, 1.0, 2.0, 1e30])
def test_weights_shrink_and_never_grow_or_turn(dampening: float) -> None:
    weights, forget, reference = importances()
    chosen = selected(forget, reference, 2.0)
    found = dampened(weights, forget, reference, chosen, dampening)
    assert bool(torch.isfinite(found).all())
    assert bool((found.abs() <= weights.abs()).all()) and bool((found * weights >= 0).all())
    assert torch.equal(found[~chosen], weights[~chosen]) and bool(chosen.any())
    if dampening <= 2.0:  # lambda <= alpha
        assert bool((found[chosen].abs() < weights[chosen].abs()).all())
    if dampening == 0:
        assert bool((found[chosen] == 0).all())
    exact = chosen & (reference > 0) & (dampening * reference < forget)
    assert torch.allclose(found[exact], (weights * dampening * reference / forget)[exact])


def test_selection_grows_as_alpha_falls_and_leaves_out_what_matters_to_neither() -> None:
    _, forget, reference = importances()
    sets = [selected(forget, reference, a) for a in (0.0, 1.0, 10.0, float("inf"))]
    assert all(bool((b <= a).all()) and int(a.sum()) > int(b.sum()) for a, b in pairwise(sets))
    assert not any(bool(s[:10].any() or s[20:30].any()) for s in sets)
    assert bool(sets[2][10:20].all())  # matters to forget pictures only
    assert not bool(sets[3].any())


@pytest.mark.parametrize("changes", [{"alpha": float("inf")}, {"dampening": float("inf"), "alpha": 1.0}])
def test_limits_leave_the_model_unchanged(changes: dict[str, float]) -> None:
    edit = edit_of(**changes)
    assert edit.values == {} and edit.components == []


def test_when_everything_is_to_be_forgotten_nothing_stands_out() -> None:
    sets = make_sets()
    for same in (replace(sets, retain=EMPTY), replace(sets, forget=sets.retain)):
        assert edit_of(same, against="full", alpha=1.0).values == {}
    assert edit_of(replace(sets, forget=EMPTY)).values == {}


def test_smaller_alpha_moves_a_superset_and_lambda_zero_removes() -> None:
    few, many = edit_of(alpha=20.0, dampening=0.0), edit_of(alpha=5.0, dampening=0.0)
    stored = make_clip().stored
    assert few.values and set(few.values) <= set(many.values)
    for name, mask in moved(few).items():
        assert bool((moved(many)[name] | ~mask).all())
    for name, mask in moved(many).items():
        assert bool((many.values[name][mask] == 0).all())
        assert bool((stored[name][mask] != 0).all())


def test_deterministic_and_it_spares_what_is_excluded() -> None:
    a, b = edit_of(alpha=2.0), edit_of(alpha=2.0)
    assert all(torch.equal(a.values[n], b.values[n]) for n in a.values) and a.values.keys() == b.values.keys()
    assert "logit_scale" not in a.values
    assert all(
        "visual" in n and "ln" not in n
        for n in edit_of(alpha=2.0, train="vision", exclude=["logit_scale", "ln"]).values
    )
    assert a.log[0].after["m2"] < a.log[0].before["m2"]  # it forgets
    assert "dampened" in a.notes[0]


def test_one_picture_a_batch_is_the_diagonal_fisher() -> None:
    model, sets = make_clip(), make_sets()
    desk = Desk(Lab(family=model, sets=sets), Trained())
    names = ["visual.proj", "text_projection"]
    loss = loss_of(desk, desk.forget, Loss.CLASSIFIER_CE)
    count, total = importance_sum(desk, names, desk.forget, 1, loss)
    live = dict(model.module.named_parameters())
    wanted = {n: torch.zeros_like(live[n]) for n in names}
    for i in range(12):
        found = torch.autograd.grad(loss(desk.forget.take(torch.tensor([i]))), [live[n] for n in names])
        for name, gradient in zip(names, found, strict=True):
            wanted[name] += gradient.detach() ** 2
    assert count == 12
    for name in names:
        assert torch.allclose(total[name], wanted[name])
    batched = importance_sum(desk, names, desk.forget, 12, loss)[1]
    assert not torch.allclose(
        batched["visual.proj"], total["visual.proj"] / 12, rtol=0.05
    )  # the square of a mean is another thing
    assert edit_of(fisher="per_sample", alpha=3.0).values.keys() != edit_of(alpha=1e9).values.keys()


def test_one_pair_has_no_contrast_so_infonce_per_sample_is_refused() -> None:
    for changes in ({"fisher": "per_sample"}, {"batch": 1}):
        with pytest.raises(ConfigError, match=r"method\.loss=infonce"):
            preset("ssd", loss="infonce", **changes)
    with pytest.raises(ConfigError, match=r"method\.alpha"):
        preset("ssd", alpha=-1.0)


def test_it_says_when_no_weight_can_be_selected() -> None:
    edit = edit_of(against="full", alpha=10.0)
    assert edit.values == {} and "no weight can reach alpha=10" in edit.notes[1]
    assert len(edit_of(against="full", alpha=1.5).notes) == 1
