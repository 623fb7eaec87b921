"""RAZOR's direction (equation 7): the sign of forgetting, the mismatch term in all its forms, and
the blend.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_sets, run
from torch import Tensor

from razor_cli.contract.components import Component, parameters, swapped
from razor_cli.contract.edit import Edit, Event
from razor_cli.data.sets import Pairs
from razor_cli.dual.losses import pair_cosines
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import norm
from razor_cli.families.clip.family import Clip
from razor_cli.methods.razor_blend import Blend
from razor_cli.methods.razor_loop import Loop

SETS = make_sets()
ONE = {"tau": math.inf, "grow_rounds": 0}
Seen = tuple[
    Component, Tensor, Tensor, dict[str, Tensor]
]  # component, mismatch and forget gradients, weights at that time


def events(edit: Edit, action: str) -> list[Event]:
    return [e for e in edit.log if e.action == action]


def razor(model: Clip, base: str = "razor_bounded", **settings: Any) -> Edit:
    return run(preset(base, **settings), model, SETS)


@pytest.mark.parametrize("normalize", ["none", "unit"])
@pytest.mark.parametrize("base", ["razor_paper", "razor_anchor"])
def test_ascent_lowers_similarity_and_descent_raises_it(clip32: Clip, normalize: str, base: str) -> None:
    settings = {"step": "fixed", "step_size": 0.01, "lambda_retain": 0.0, "normalize": normalize} | ONE
    moves = {}
    for direction in ("auto", "ascend", "descend"):
        (event,) = events(razor(clip32, base, forget_direction=direction, **settings), "apply")
        moves[direction] = event.after["m2"] - event.before["m2"]
    assert moves["ascend"] < -0.01 and moves["descend"] > 0.01
    assert moves["auto"] == moves["ascend"]


def test_forgetting_needs_the_forget_term(clip32: Clip) -> None:
    settings = {"step": "fixed", "step_size": 0.01, "lambda_forget": 0.0, "lambda_mismatch": 0.0} | ONE
    (event,) = events(razor(clip32, **settings), "apply")
    assert event.after["m2"] - event.before["m2"] > -0.5


def drift_by_hand(model: Clip, pairs: Pairs, before: Tensor | None, power: int) -> dict[str, Tensor]:
    """Return the gradient of mean((s - s0) ** power) over all pairs by plain autograd, without the engine."""
    params = {n: p for n, p in model.module.named_parameters() if n != "logit_scale"}
    s = pair_cosines(
        model.encode_image(model.preprocess(pairs.load())), model.encode_text(model.tokenize(pairs.captions))
    )
    loss = ((s - (s.detach() if before is None else before)) ** power).mean()
    return dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))


def cosines(model: Clip, pairs: Pairs) -> Tensor:
    with torch.no_grad():
        return pair_cosines(
            model.encode_image(model.preprocess(pairs.load())),
            model.encode_text(model.tokenize(pairs.captions)),
        )


def spied(monkeypatch: pytest.MonkeyPatch, model: Clip, **settings: Any) -> list[Seen]:
    """Run an edit, and return at each step the component, its mismatch and forget gradients, and the weights
    at that time.
    """
    seen, real = [], Blend.mismatch_gradient

    def spy(self: Blend, component: Component, g_f: Any, *rest: Any) -> Any:
        found = real(self, component, g_f, *rest)
        weights = {n: v.clone() for n, v in parameters(model).items()}
        seen.append(
            (component, *(torch.cat([v.reshape(-1) for v in views]) for views in (found, g_f)), weights)
        )
        return found

    monkeypatch.setattr(Blend, "mismatch_gradient", spy)
    razor(model, step="fixed", step_size=0.1, early_stop=False, tau_mode="topk", tau=2, **settings)
    assert len(seen) == 2
    return seen


def close(a: Tensor, b: Tensor, tolerance: float = 1e-5) -> bool:
    return float((a - b).norm()) <= tolerance * float(b.norm())


def test_signed_mismatch_is_minus_the_forget_gradient(clip32: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    component, g_m, g_f, _ = spied(monkeypatch, clip32, mismatch_form="signed")[0]
    assert close(g_m, component.vector(drift_by_hand(clip32, SETS.forget, None, 1)))
    assert close(g_m, -g_f) and float(g_f.norm()) > 0


def test_after_a_step_the_signed_mismatch_is_that_of_the_stage_or_of_the_weights_as_they_are(
    clip32: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {}
    for at in ("stage", "current"):
        with monkeypatch.context() as patch:
            found[at] = spied(patch, clip32, mismatch_at=at)
    for first, _ in found.values():
        assert close(first[1], -first[2])  # nothing has moved yet: both are the same
    component, g_m, g_f, weights = found["stage"][1]
    with swapped(clip32, weights):
        now = component.vector(drift_by_hand(clip32, SETS.forget, None, 1))
    assert close(g_m, -g_f) and not close(g_m, now, 1e-2)
    component, g_m, g_f, weights = found["current"][1]
    with swapped(clip32, weights):
        now = component.vector(drift_by_hand(clip32, SETS.forget, None, 1))
    assert close(g_m, now) and not close(g_m, -g_f, 1e-2)


@pytest.mark.parametrize("refresh", [True, False])
def test_the_mismatch_at_the_current_weights_costs_passes_only_once_they_have_moved(
    clip32: Clip, refresh: bool
) -> None:
    settings = {"step": "fixed", "step_size": 0.1, "early_stop": False, "tau_mode": "topk", "tau": 3}
    costs = [
        razor(clip32, mismatch_at=at, refresh_gradients=refresh, **settings).cost.backwards
        for at in ("stage", "current")
    ]
    assert costs[1] - costs[0] == (0 if refresh else 2 * len(SETS.forget))


@pytest.mark.parametrize("which", ["forget", "retain", "both"])
@pytest.mark.parametrize("forget_loss", ["cosine", "concept_ce", "concept_uniform", "concept_margin"])
def test_signed_mismatch_of_any_set_is_the_gradient_of_its_mean_cosine(
    clip32: Clip, monkeypatch: pytest.MonkeyPatch, which: str, forget_loss: str
) -> None:
    component, g_m, g_f, _ = spied(
        monkeypatch, clip32, mismatch_form="signed", mismatch_set=which, forget_loss=forget_loss
    )[0]
    chosen = {"forget": [SETS.forget], "retain": [SETS.retain], "both": [SETS.forget, SETS.retain]}[which]
    by_hand = [component.vector(drift_by_hand(clip32, p, None, 1)) for p in chosen]
    assert close(g_m, torch.stack(by_hand).mean(0))
    if (which, forget_loss) != ("forget", "cosine"):
        assert not close(g_m, -g_f, 1e-2)


@pytest.mark.parametrize("form", ["squared", "abs"])
@pytest.mark.parametrize("which", ["forget", "retain", "both"])
def test_squared_and_absolute_mismatch_vanish_at_the_start_and_pull_back_later(
    clip32: Clip, monkeypatch: pytest.MonkeyPatch, form: str, which: str
) -> None:
    first, second = spied(monkeypatch, clip32, mismatch_form=form, mismatch_set=which, lambda_mismatch=1.0)
    assert float(first[1].norm()) == 0.0
    assert float(second[1].norm()) > 0.0
    if form == "squared":
        chosen = {"forget": [SETS.forget], "retain": [SETS.retain], "both": [SETS.forget, SETS.retain]}[which]
        anchors = [cosines(clip32, p) for p in chosen]  # at the unedited weights
        with swapped(clip32, second[3]):
            by_hand = [
                second[0].vector(drift_by_hand(clip32, p, s0, 2))
                for p, s0 in zip(chosen, anchors, strict=True)
            ]
        assert close(second[1], torch.stack(by_hand).mean(0), 1e-4)


def test_squared_mismatch_has_no_gradient_at_the_start_by_its_own_formula(clip32: Clip) -> None:
    loop = Loop(preset("razor_anchor"), Lab(family=clip32, sets=SETS))
    drift = clip32.loss("mismatch_squared", SETS).anchored(Weights())
    for component in loop.components[:6]:
        found = drift.gradient(SETS.retain, 128, component.params, loop.lab.tick)
        assert set(found) == set(component.params)
        views = component.views(found)
        reference = component.vector(drift_by_hand(clip32, SETS.retain, None, 1))
        assert norm(views) <= 1e-5 * float(reference.norm())


@pytest.mark.parametrize("normalize", ["none", "unit", "match_retain"])
@pytest.mark.parametrize("direction", ["ascend", "descend"])
def test_the_blend_is_equation_seven(clip32: Clip, normalize: str, direction: str) -> None:
    weights = {"lambda_forget": 2.0, "rho": 0.25, "lambda_retain": 3.0, "lambda_mismatch": 0.5}
    method = preset("razor_bounded", normalize=normalize, forget_direction=direction, **weights)
    loop = Loop(method, Lab(family=clip32, sets=SETS))
    forget, retain = loop.lab.gradients(method.plan)
    loop._gradients = forget, retain
    for s in loop._scored(loop.components[::5]):
        found = torch.cat([v.reshape(-1) for v in loop.blend.direction(s, forget, retain, {})])
        g_f, g_r = s.component.vector(forget), s.component.vector(retain)
        unit_f, unit_r = g_f / g_f.norm(), g_r / g_r.norm()
        sign = -1.0 if direction == "ascend" else 1.0
        f, r = {"none": (g_f, g_r), "unit": (unit_f, unit_r), "match_retain": (unit_f * g_r.norm(), g_r)}[
            normalize
        ]
        assert close(found, sign * 2.0 * 0.25 * f + 3.0 * r - 0.5 * f, 1e-4)
