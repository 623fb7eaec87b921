"""FT, GA and GAFT: signs, passes and limits (sheet section 7)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run
from torch import Tensor

from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.choices import Ascended
from razor_cli.dual.desk import Desk
from razor_cli.dual.losses import info_nce
from razor_cli.dual.steps import forget_loss
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import Trained
from razor_cli.families.clip.family import Clip
from razor_cli.methods.ft import Ft
from razor_cli.methods.ga import Ga
from razor_cli.methods.gaft import Gaft

EMPTY = Pairs((), {})
PLAIN: dict[str, Any] = {
    "optimizer": "sgd",
    "momentum": 0.0,
    "weight_decay": 0.0,
    "keep": "last",
    "schedule": "const",
}


def edit_of(
    method: Any, sets: ConceptSets | None = None, dtype: torch.dtype = torch.float32
) -> tuple[Edit, Clip]:
    model = make_clip(dtype)
    return run(method, model, sets or make_sets()), model


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


def losses(model: Clip, values: dict[str, Tensor]) -> dict[str, float]:
    """Return both losses on the training sets with an edit in place."""
    desk = Desk(Lab(family=model, sets=make_sets()), Trained())
    found = {}
    with torch.no_grad(), swapped(model, values):
        for kind in Ascended:
            found[kind.value] = float(forget_loss(desk, kind)(desk.forget.take(torch.arange(12))))
        found["retain"] = float(info_nce(*desk.pairs(desk.retain.take(torch.arange(32))), desk.scale))
    return found


@pytest.mark.parametrize("kind", list(Ascended))
def test_the_first_step_of_ga_goes_along_the_forget_gradient(kind: Ascended) -> None:
    lr = 1e-3
    edit, model = edit_of(preset("ga", loss=kind.value, lr=lr, epochs=1, batch=64, **PLAIN))
    assert losses(model, edit.values)[kind.value] > losses(model, {})[kind.value]
    if kind is Ascended.COSINE:
        sets = make_sets()
        loss = model.loss(kind.value, sets)
        gradient = loss.gradient(sets.forget, len(sets.forget), tuple(edit.values), lambda *_: None)
        live = parameters(model)
        step = torch.cat([(edit.values[n] - live[n]).reshape(-1) for n in edit.values])
        wanted = torch.cat([lr * gradient[n].reshape(-1) for n in edit.values])
        assert torch.allclose(step, wanted, atol=1e-7) and float(step.norm()) > 1e-5


def test_ga_raises_the_forget_loss_in_every_epoch_and_collapses_utility_at_a_large_rate() -> None:
    edit, _ = edit_of(preset("ga", lr=1e-4, epochs=6, keep="last"))
    m2 = [edit.log[0].before["m2"], *(e.after["m2"] for e in edit.log)]
    assert all(a > b for a, b in pairwise(m2))
    wild, _ = edit_of(preset("ga", lr=3e-2, epochs=6, keep="last"))
    assert wild.log[-1].after["util"] < wild.log[0].before["util"] - 20


def test_ft_lowers_the_retain_loss_and_forgets_nothing() -> None:
    edit, model = edit_of(preset("ft", lr=1e-4, epochs=6, keep="last"))
    assert losses(model, edit.values)["retain"] < losses(model, {})["retain"]
    assert edit.log[-1].after["m1"] <= edit.log[0].before["m1"]
    assert edit.log[-1].after["m1"] >= edit.log[0].before["m1"] - 35


def test_gaft_without_forget_pairs_is_ft_and_without_retain_pairs_is_ga() -> None:
    shared: dict[str, Any] = {"lr": 1e-4, "epochs": 2, "batch": 8}
    no_forget, no_retain = replace(make_sets(), forget=EMPTY), replace(make_sets(), retain=EMPTY)
    assert same(edit_of(Gaft(**shared), no_forget)[0].values, edit_of(Ft(**shared))[0].values)
    assert same(edit_of(Gaft(**shared), no_retain)[0].values, edit_of(Ga(**shared))[0].values)


def test_gaft_forgets_and_keeps_more_than_ga_alone() -> None:
    both, alone = (edit_of(preset(n, lr=1e-3, epochs=6, keep="last"))[0].log for n in ("gaft", "ga"))
    assert both[-1].after["m2"] < both[0].before["m2"]
    assert both[-1].after["util"] > alone[-1].after["util"]


def test_decay_spares_vectors_unless_it_is_on_all() -> None:
    """With the gradient near 0 only decay moves: FT on a single pair has an InfoNCE of exactly 0."""
    lone = replace(make_sets(), retain=Pairs(make_sets().retain.pictures[:1], make_sets().retain.sources))
    shared: dict[str, Any] = {"lr": 0.1, "epochs": 1, "weight_decay": 0.5}
    spared, model = edit_of(preset("ft", **shared), lone)
    assert spared.values and all(v.ndim >= 2 for v in spared.values.values())
    for name, value in spared.values.items():
        assert torch.allclose(value, model.stored[name] * (1 - 0.1 * 0.5))
    every, _ = edit_of(preset("ft", decay_on="all", **shared), lone)
    assert any(v.ndim == 1 for v in every.values.values())
