"""RAZOR on models that draw: text encoders are edited, what must stay has no gradient at first, steps may be
guided by contexts of prompts alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch
from drawn_labs import lab_of, same
from presets import preset
from tiny_drawn import bits, family, make_sets

from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.board import DrawnBoard
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.methods.razor import Razor
from razor_cli.methods.razor_blend import Blend, without_conflict
from razor_cli.methods.razor_choices import MismatchForm, MismatchSet
from razor_cli.methods.razor_pick import scored

NO_PICTURES = DrawnMetrics(search_pictures=0, judges=None)
OF_TEXT: dict[str, Any] = {
    "forget_loss": "anchor",
    "retain_loss": "drift",
    "selector": "gradient_norm",
    "granularity": "tensor",
    "normalize": "unit",
    "target": {"m1": None, "m4_drop": None, "m5": None, "text_gone": 60.0, "text_kept": 60.0},
    "floor": {"m5": None, "m4_drop": None, "others_drop": None, "text_kept": 60.0},
    "step_size": 0.5,
    "max_components": 4,
    "tau": 0.1,
    "must_improve": True,
    "early_stop": True,
    "refresh_gradients": True,
    "grow_rounds": 2,
}


@pytest.fixture(params=list(Kind), ids=str)
def model(request: pytest.FixtureRequest) -> Iterator[Diffusion]:
    """A tiny pipeline, whose weights every test must leave to the bit."""
    found = family(request.param)
    before = bits(found)
    yield found
    assert same(before, bits(found))


def razor(model: Diffusion, lab: dict[str, Any] | None = None, **changes: Any) -> Edit:
    method = preset("razor_paper", **OF_TEXT | changes)
    assert isinstance(method, Razor)
    return method.edit(lab_of(model, settings=NO_PICTURES, **lab or {}))


def test_the_target_goes_and_other_prompts_stay_within_the_floor(model: Diffusion) -> None:
    edit = razor(model)
    board, sets = DrawnBoard(model, make_sets(), NO_PICTURES, Cost(), fast=True), make_sets()
    with edit.change.held(model):
        now = board.rescore()
    assert now["text_gone"] < board.base["text_gone"] and now["text_kept"] >= 60.0
    assert model.without_effect(edit.change, sets) is None
    assert same(edit.values, razor(model).values)  # nothing is drawn at random
    known = {c.name: c for c in model.tensors()}
    assert set(edit.values) == set(edit.components) <= set(known)
    assert all("text_encoder" in n for n in edit.values)


def test_of_head_components_only_their_slices_change(model: Diffusion) -> None:
    edit = razor(model, granularity="head_mlp", grow_rounds=0)
    every = {c.name: c for c in model.components(preset("razor_paper").granularity, preset("slug").towers)}
    touched = [every[n] for n in edit.components]
    for name, value in edit.values.items():
        rest = value.clone()
        live = dict(model.module.named_parameters())[name].data
        for c in touched:
            for s in c.slices:
                if s.param == name:
                    s.of(rest).copy_(s.of(live))
        assert torch.equal(rest, live)


def test_a_step_of_nothing_changes_nothing(model: Diffusion) -> None:
    edit = razor(model, step="fixed", step_size=0.0, grow_rounds=0)
    assert edit.values == {}
    assert "no weight differs" in str(model.without_effect(edit.change, make_sets()))


@pytest.mark.parametrize("loss", ["cosine", "concept_head", "anchor"])
def test_each_reading_of_forgetting_goes_its_own_way(model: Diffusion, loss: str) -> None:
    """A small step along the blend goes down where the loss declares it, and up for the cosine."""
    method = preset("razor_paper", **OF_TEXT | {"forget_loss": loss, "lambda_retain": 0.0})
    lab = lab_of(model, settings=NO_PICTURES)
    forget, retain = lab.gradients(method.plan)
    blend, parts = Blend(method, lab), lab.family.components(method.granularity, method.towers)
    for s in scored(method, model, parts[::5], forget, retain):  # each costs passes; these differ in kind
        if s.forget_norm:
            direction = torch.cat([v.reshape(-1) for v in blend.direction(s, forget, retain, {})])
            along = float(direction @ s.component.vector(forget))
            assert along < 0 if loss == "cosine" else along > 0


def test_what_stays_has_no_gradient_before_the_first_step_and_none_of_it_is_in_the_way(
    model: Diffusion,
) -> None:
    method = preset("razor_paper", **OF_TEXT | {"alpha": 1.0})
    forget, retain = lab_of(model).gradients(method.plan)
    assert all(not bool(g.any()) for g in retain.values())
    parts = model.components(method.granularity, method.towers)
    found = [s for s in scored(method, model, parts, forget, retain) if s.forget_norm]
    assert found and all(s.cosine == 0 and s.phi > 0 for s in found)


def test_the_squared_mismatch_does_nothing_before_the_first_step() -> None:
    model = family(Kind.SD15)
    changes = {"mismatch_form": "squared", "mismatch_set": "both", "normalize": "none"}
    with_, without = (
        preset("razor_paper", **OF_TEXT | changes | {"lambda_mismatch": weight}) for weight in (0.5, 0.0)
    )
    assert (with_.mismatch_form, with_.mismatch_set) == (MismatchForm.SQUARED, MismatchSet.BOTH)
    lab = lab_of(model, settings=NO_PICTURES)
    forget, retain = lab.gradients(with_.plan)
    s = scored(with_, model, model.components(with_.granularity, with_.towers), forget, retain)[-1]

    def direction(method: Razor, base: Mapping[str, Any]) -> torch.Tensor:
        return torch.cat([v.reshape(-1) for v in Blend(method, lab).direction(s, forget, retain, base)])

    assert torch.equal(direction(with_, {}), direction(without, {}))
    name = s.component.params[0]
    live = dict(model.module.named_parameters())[name]
    kept = live.data.clone()
    try:
        live.data.mul_(1.5)
        assert not torch.equal(direction(with_, {name: kept}), direction(without, {name: kept}))
    finally:
        live.data.copy_(kept)


def test_what_would_raise_the_retain_loss_is_left_out() -> None:
    forget, retain = [torch.tensor([3.0, 1.0])], [torch.tensor([-2.0, 0.0])]
    (left,) = without_conflict(forget, retain, 1.0)  # subtracting forget moves against retain's descent
    assert torch.equal(left, torch.tensor([0.0, 1.0]))
    assert without_conflict(forget, retain, -1.0)[0] is forget[0]
    assert without_conflict(forget, [torch.zeros(2)], 1.0)[0] is forget[0]


GUIDE = {"text_gone": 60.0, "text_kept": 60.0}


@pytest.mark.parametrize("costs", [True, False])
def test_a_guided_search_asks_for_pictures_only_when_the_edit_is_whole(
    monkeypatch: pytest.MonkeyPatch, costs: bool
) -> None:
    """An edit that meets the Target stays whole; one that cost too much is scaled down."""
    model, asked = family(Kind.SD15), []

    def spied(self: DrawnBoard, wanted: Any, lost: Any = None) -> dict[str, float]:
        asked.append(wanted)
        found = self.text.metrics()
        seen = {"recognised": 0.0 if found["text_gone"] < 95 else 100.0, "ira": 100.0}
        if costs and found["text_gone"] < 90:
            seen["ira"] = 50.0
        return found if wanted else found | seen

    monkeypatch.setattr(DrawnBoard, "_metrics", spied)
    target = {"m1": None, "m4_drop": None, "m5": None, "recognised": 5.0, "ira_drop": 5.0}
    edit = razor(
        model, order="joint", grow_rounds=0, joint_rounds=4, guide=GUIDE, target=target, trim_steps=3
    )
    first = asked.index({"text_gone", "text_kept"})
    whole = [i for i, wanted in enumerate(asked) if wanted is None and i > first]
    assert asked[:first] == [None] and whole and all(w is None for w in asked[whole[0] :])
    trims = [e for e in edit.log if e.action == "trim"]
    assert len(trims) == costs
    if costs:
        assert 0 < (trims[0].step_size or 0) < 1 and trims[0].after["recognised"] == 0.0
        assert trims[0].before["ira"] == 50.0


def test_goals_that_nothing_can_be_guided_by_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"method\.guide: none of its goals"):
        razor(family(Kind.SD15), guide={"text_kept": 90.0})


def test_rounds_may_all_look_as_far_as_the_first() -> None:
    def largest(decay: float) -> list[float]:
        edit = razor(
            family(Kind.SD15),
            order="joint",
            joint_rounds=3,
            grow_rounds=0,
            joint_decay=decay,
            early_stop=False,
            must_improve=False,
            search_steps=1,
            floor={**OF_TEXT["floor"], "text_kept": None},
        )
        steps = [e.relative_step for e in edit.log if e.action in {"apply", "refuse"}]
        assert all(s is not None for s in steps)
        return [float(s or 0) for s in steps]

    constant, halved = largest(1.0), largest(0.5)
    assert len(constant) == len(halved) and constant[0] == pytest.approx(halved[0])
    assert constant[-1] == pytest.approx(constant[0], rel=1e-3)
    assert halved[-1] == pytest.approx(halved[0] / 4, rel=1e-3)
