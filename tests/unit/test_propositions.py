"""The propositions as measurements: each must be able to fail, and finds what was planted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from presets import preset
from tiny_world import bits, make_sets, run
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.data.sets import Judged
from razor_cli.dual.goals import GOALS
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab
from razor_cli.engine.search import Aim
from razor_cli.families.clip.family import Clip
from razor_cli.methods.razor_loop import Loop
from razor_cli.studies import edit_claims, step_claims
from razor_cli.studies import proposition_measures as on_model
from razor_cli.studies.finding import Finding, Outcome

SETS = make_sets()
HEADS = (Granularity.HEAD_MLP, Towers.BOTH)
EASY = {
    "target": {"m1": 60.0, "m5": 0.0, "m4_drop": 100.0},
    "floor": {"m5": 0.0, "m4_drop": 100.0},
}


def tensors(clip: Clip, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {n: torch.randn(v.shape, generator=generator) for n, v in parameters(clip).items()}


def outcomes(findings: list[Finding]) -> dict[str, Outcome]:
    return {f.at or f.claim: f.outcome for f in findings if f.outcome is not None}


@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_scale_law_is_exact_over_all_components(clip: Clip, power: int, alpha: float) -> None:
    found = step_claims.scale_law(
        clip.components(*HEADS),
        parameters(clip),
        tensors(clip, 1),
        tensors(clip, 2),
        alpha=alpha,
        epsilon=1e-8,
        power=power,
    )
    assert outcomes(found) == {"weights": Outcome.HOLDS, "g_f": Outcome.HOLDS, "g_r": Outcome.HOLDS}
    assert [f.claim.split("^")[1].split(",")[0] for f in found] == [str(-power), str(power), "0"]


def test_an_epsilon_that_is_felt_breaks_the_law_of_the_weights_only(clip: Clip) -> None:
    found = step_claims.scale_law(
        clip.components(*HEADS),
        parameters(clip),
        tensors(clip, 1),
        tensors(clip, 2),
        alpha=0.5,
        epsilon=1.0,
        power=1,
    )
    assert outcomes(found) == {"weights": Outcome.FAILS, "g_f": Outcome.HOLDS, "g_r": Outcome.HOLDS}


def test_leaving_a_component_out_gives_back_its_bits_and_no_others(clip: Clip) -> None:
    first, second, other = clip.components(*HEADS)[:3]  # heads of one block share their tensors
    base = {n: parameters(clip)[n].clone() for n in {*first.params, *second.params}}
    edited = {n: v + 1 for n, v in base.items()}
    found = dict((c.name, v) for c, v in edit_claims.without_each(base, edited, [first, second]))
    assert all(
        torch.equal(a, b) for a, b in zip(first.views(found[first.name]), first.views(base), strict=True)
    )
    for untouched in (second, other):
        assert all(
            torch.equal(a, b)
            for a, b in zip(untouched.views(found[first.name]), untouched.views(edited), strict=True)
        )
    assert all(torch.equal(edited[n], base[n] + 1) for n in base)


def aim(m1: float) -> Aim:
    base = {"m1": 100.0, "m1_generic": 100.0, "m4_generic": 90.0, "util": 90.0}
    return Aim.against(base, GOALS, {"m1": m1, "m4_drop": 2.0, "m5": 98.0}, {})


def metrics(m1: float) -> dict[str, float]:
    return {"m1": m1, "m1_generic": 0.0, "m4_generic": 90.0, "util": 89.0}


def test_minimality_holds_fails_and_stays_open() -> None:
    needed = edit_claims.minimality(aim(55), metrics(40), {"a": metrics(70), "b": metrics(60)}, "half")
    assert needed[0].outcome is Outcome.HOLDS and [f.value for f in needed[1:]] == [30, 20]
    spare = edit_claims.minimality(aim(55), metrics(40), {"a": metrics(70), "b": metrics(50)}, "half")
    assert spare[0].outcome is Outcome.FAILS and spare[0].value == 1 and spare[0].note == "redundant: b"
    assert edit_claims.minimality(aim(55), metrics(60), {"a": metrics(70)}, "half")[0].outcome is Outcome.OPEN
    assert edit_claims.minimality(aim(55), metrics(40), {}, "half")[0].outcome is Outcome.OPEN


def test_a_redundant_component_that_was_planted_is_found(clip: Clip) -> None:
    method = preset("razor", **EASY)
    edit = run(method, clip, SETS)
    assert edit.components
    known = {c.name: c for c in clip.components(*HEADS)}
    idle = next(c for c in reversed(known.values()) if c.name not in edit.components and c.tower == "text")
    planted = dict(edit.values)
    for name in idle.params:
        planted.setdefault(name, clip.stored[name].clone())
    changed = {n: v.clone() for n, v in planted.items()}
    for view in idle.views(changed):
        view.mul_(1.001)
    moved = [*(known[n] for n in edit.components), idle]
    before = bits(clip)
    found = on_model.needed(
        clip, SETS, SETS.validation, method, replace(edit, change=Weights(values=changed)), moved, "half"
    )
    assert bits(clip) == before
    assert found[0].outcome is Outcome.FAILS and idle.name in found[0].note
    notes = {f.at: f.note for f in found[1:]}
    assert notes[idle.name].endswith("redundant") and len(notes) == len(moved)
    if len(edit.components) == 1:  # all of the edit
        assert notes[edit.components[0]] == "Target broken"


def test_forgetting_holds_fails_and_stays_open() -> None:
    low, high = torch.linspace(0.1, 0.2, 40), torch.linspace(0.6, 0.7, 40)
    start, threshold = edit_claims.forgetting(high, low, high)
    assert (start.outcome, threshold.outcome) == (Outcome.HOLDS, Outcome.HOLDS)
    assert start.value == pytest.approx(-0.5) and threshold.value == pytest.approx(-0.5)
    assert threshold.note.startswith("100 % of pairs") and threshold.note.endswith("before the edit 50 % did")
    start, threshold = edit_claims.forgetting(low, high, low)
    assert (start.outcome, threshold.outcome) == (Outcome.FAILS, Outcome.FAILS)
    start, threshold = edit_claims.forgetting(low, low.flip(0), low.flip(0))
    assert (start.outcome, threshold.outcome) == (Outcome.OPEN, Outcome.OPEN)


def planted(slope: float) -> list[step_claims.RhoPoint]:
    noise = torch.linspace(-1e-4, 1e-4, 50)
    return [
        step_claims.RhoPoint(
            rho=r, forget_change=torch.full((20,), 0.1), retain_change=slope * r * 0.1 + noise
        )
        for r in (0.25, 0.5, 0.75, 1)
    ]


@pytest.mark.parametrize(
    ("slope", "outcome"),
    [(2.0, Outcome.FAILS), (0.5, Outcome.HOLDS), (-1.0, Outcome.HOLDS), (1.0, Outcome.OPEN)],
)
def test_the_bound_on_the_retain_loss_and_its_slope(slope: float, outcome: Outcome) -> None:
    total = step_claims.retention(planted(slope), "half")[0]
    assert total.outcome is outcome and total.value == pytest.approx(slope, abs=1e-3)
    assert (
        total.low is not None
        and total.high is not None
        and total.low <= slope + 1e-6
        and slope - 1e-6 <= total.high
    )


def test_a_line_through_two_points_has_no_interval() -> None:
    assert step_claims.line([0, 1], [0, 1]) == (None, None, None) and step_claims.line(
        [1, 1, 1], [0, 1, 2]
    ) == (None, None, None)


@pytest.mark.parametrize("normalize", ["none", "unit", "match_retain"])
@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_the_blended_direction_is_the_methods_own(clip: Clip, base: str, normalize: str) -> None:
    method = preset(base, normalize=normalize)
    loop = Loop(method, Lab(family=clip, sets=SETS))
    forget, retain = loop.lab.gradients(method.plan)
    extra = method.lambda_mismatch if method.forget_loss == "cosine" else 0.0
    loop._gradients = forget, retain
    for s in loop._scored(loop.components):
        c, weight = s.component, method.lambda_forget * method.rho + extra
        found = step_claims.blended(c.views(forget), c.views(retain), weight, method.lambda_retain, normalize)
        for mine, own in zip(found, loop.blend.direction(s, forget, retain, {}), strict=True):
            torch.testing.assert_close(mine, own, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_a_larger_rho_adds_more_to_the_forget_loss(clip: Clip, base: str) -> None:
    method, lab = preset(base), Lab(family=clip, sets=SETS)
    forget, retain = lab.gradients(method.plan)
    chosen = on_model.first_choice(clip, clip.components(*HEADS), method, forget, retain)
    before = bits(clip)
    points = on_model.rho_sweep(clip, SETS, Judged(SETS.forget, SETS.retain), method, chosen, forget, retain)
    assert bits(clip) == before
    rises = [float(x.forget_change.mean()) for x in points]
    assert rises == sorted(rises) and rises[-1] > max(0.0, rises[0])
    assert float(points[0].retain_change.mean()) < float(points[-1].retain_change.mean()) + 1e-3


@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_the_losses_of_pairs_are_those_whose_gradients_the_method_takes(clip: Clip, base: str) -> None:
    method, judged = preset(base), Judged(SETS.forget, SETS.retain)
    weights = parameters(clip)
    for which, gradient in enumerate(Lab(family=clip, sets=SETS).gradients(method.plan)):
        name = max(gradient, key=lambda n: float(gradient[n].norm()))
        step = 3e-3 / float(gradient[name].norm())
        means = []
        for sign in (1, -1):
            with swapped(clip, {name: weights[name] + sign * step * gradient[name]}):
                losses = on_model.pair_losses(clip, SETS, judged, method)[which]
            assert losses.shape == ((len(SETS.forget), len(SETS.retain))[which],)
            means.append(float(losses.double().mean()))
        assert (means[0] - means[1]) / 2 == pytest.approx(
            step * float(gradient[name].square().sum()), rel=0.05
        )
