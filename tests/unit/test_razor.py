"""RAZOR: what follows from its formulas, tested on a model that can really forget."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import bits, changed, leaked, make_clip, make_sets, run, without

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.method import GradientPlan
from razor_cli.data.sets import Pairs
from razor_cli.dual import named_losses
from razor_cli.dual.board import DualBoard
from razor_cli.dual.gradients import set_gradient
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import Saliency
from razor_cli.families.clip.family import Clip
from razor_cli.methods.razor_loop import Loop

SETS = make_sets()
UNREACHABLE = {"target.m1": 0.0, "target.m5": 100.0, "target.m4_drop": 0.0}
MET = {"target.m1": 100.0, "target.m5": 0.0, "target.m4_drop": 100.0}
ONE = {"tau": math.inf, "grow_rounds": 0}


def events(edit: Edit, action: str) -> list[Event]:
    return [e for e in edit.log if e.action == action]


def razor(
    model: Clip, base: str = "razor_bounded", lab: dict[str, Any] | None = None, **settings: Any
) -> Edit:
    return run(preset(base, **settings), model, SETS, **(lab or {}))


@pytest.mark.parametrize("step", ["search", "fixed"])
@pytest.mark.parametrize("search_return", ["best_score", "largest_stable", "smallest_sufficient"])
def test_a_step_of_size_zero_changes_no_bit(clip: Clip, step: str, search_return: str) -> None:
    edit = razor(clip, step=step, step_size=0.0, search_return=search_return, grow_rounds=1, search_steps=2)
    assert changed(edit, clip) == set()


@pytest.mark.parametrize("granularity", ["head_mlp", "attn_mlp", "block", "tensor"])
@pytest.mark.parametrize("towers", ["both", "vision", "text"])
def test_whatever_is_outside_k_keeps_its_bits(clip: Clip, granularity: str, towers: str) -> None:
    edit = razor(
        clip,
        granularity=granularity,
        towers=towers,
        include_projections=True,
        step="fixed",
        step_size=0.1,
        early_stop=False,
        tau_mode="topk",
        tau=3,
    )
    assert len(edit.components) == 3
    assert changed(edit, clip) and leaked(edit, clip) == []
    if towers != "both":
        assert all(("visual" in n) is (towers == "vision") for n in changed(edit, clip))


@pytest.mark.parametrize("mode", ["relative", "absolute", "zscore"])
def test_an_infinite_threshold_edits_exactly_one_component(clip: Clip, mode: str) -> None:
    edit = razor(clip, tau_mode=mode, step="fixed", step_size=0.1, **ONE)
    assert len(events(edit, "select")) == len(edit.components) == 1
    assert leaked(edit, clip) == []


def phi(s: Saliency) -> float:
    return s.phi


def test_the_one_component_is_the_most_salient(clip: Clip) -> None:
    method = preset("razor_bounded", **ONE, step="fixed", step_size=0.1)
    loop = Loop(method, Lab(family=clip, sets=SETS))
    loop._gradients = loop.lab.gradients(method.plan)
    scored = loop._scored(loop.components)
    assert run(method, clip, SETS).components == [max(scored, key=phi).component.name]


def test_without_growth_rounds_nothing_grows(clip: Clip) -> None:
    edit = razor(clip, tau=math.inf, grow_rounds=0, **UNREACHABLE)
    assert events(edit, "grow") == []
    assert edit.cost.evaluations == 8


@pytest.mark.parametrize("grow_update", ["new_only", "all_active"])
def test_growth_only_adds_within_its_bound_and_its_budget(clip: Clip, grow_update: str) -> None:
    edit = razor(
        clip, tau_mode="topk", tau=2, grow_rounds=6, grow_update=grow_update, search_steps=3, **UNREACHABLE
    )
    chosen = [e.component for e in events(edit, "select")]
    grown = [e.component for e in events(edit, "grow")]
    assert len(chosen) == 2 and 1 <= len(grown) <= 6
    assert len(set(chosen + grown)) == len(chosen + grown)
    assert set(edit.components) <= set(chosen + grown)
    assert edit.cost.evaluations <= (2 + 6) * 3
    assert leaked(edit, clip) == []
    moved = [e.component for e in edit.log if e.action in {"apply", "refuse"}]
    repeated = len(moved) > len(set(moved))
    assert repeated is (grow_update == "all_active")


def test_by_tower_one_tower_is_spent_before_the_next_is_looked_at(clip: Clip) -> None:
    edit = razor(clip, stages="by_tower", tau_mode="topk", tau=2, grow_rounds=3, step_size=0.0, **UNREACHABLE)
    towers = {c.name: c.tower for g in Granularity for c in clip.components(g, Towers.BOTH)}
    assert [towers[e.component] for e in events(edit, "select")] == ["vision"] * 2
    assert [towers[e.component] for e in events(edit, "grow")] == ["vision"] * 3 + ["text"] * 3
    assert "6 growth rounds" in edit.notes[-1]
    small = razor(
        clip, stages="by_tower", granularity="block", tau=0, grow_rounds=1, step_size=0.0, **UNREACHABLE
    )
    assert [towers[e.component] for e in events(small, "grow")] == ["text"]  # no block of the first is left


def test_growth_looks_at_the_model_as_it_is_then(clip: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    base, seen = bits(clip), []
    real = Lab.gradients

    def spy(self: Lab, plan: GradientPlan, **keywords: Any) -> Any:
        seen.append((keywords.get("at_base", True), bits(clip) == base, keywords.get("sample")))
        return real(self, plan, **keywords)

    monkeypatch.setattr(Lab, "gradients", spy)
    razor(clip, tau=math.inf, grow_rounds=2, grow_sample=4, search_steps=3, **UNREACHABLE)
    assert seen[0] == (True, True, None)
    assert seen[1:] == [(False, False, 4)] * 2


@pytest.mark.parametrize("early_stop", [True, False])
def test_a_target_that_is_met_adds_nothing(clip: Clip, early_stop: bool) -> None:
    edit = razor(clip, tau_mode="topk", tau=3, early_stop=early_stop, search_steps=3, **MET)
    assert events(edit, "grow") == []
    stepped = {e.component for e in edit.log if e.action in {"apply", "refuse"}}
    assert len(stepped) == (1 if early_stop else 3)


@pytest.mark.parametrize("base", ["razor_paper", "razor", "razor_anchor"])
def test_only_the_ratios_of_the_three_weights_matter(clip: Clip, base: str) -> None:
    plain = preset(base, search_steps=4, grow_rounds=1)
    weights = {n: 4 * getattr(plain, n) for n in ("lambda_forget", "lambda_retain", "lambda_mismatch")}
    scaled = replace(plain, **weights)
    a, b = run(plain, clip, SETS), run(scaled, clip, SETS)
    assert a.components == b.components and a.values
    assert all(torch.equal(a.values[n], b.values[n]) for n in a.values)
    other = run(replace(plain, lambda_forget=4 * plain.lambda_forget), clip, SETS)
    assert any(n not in other.values or not torch.equal(a.values[n], other.values[n]) for n in a.values)


def test_an_absolute_step_is_a_factor_and_a_relative_one_a_share_of_the_norm(clip32: Clip) -> None:
    for scale in ("relative_norm", "absolute"):
        edit = razor(clip32, step="fixed", step_size=0.05, step_scale=scale, **ONE)
        (event,) = events(edit, "apply")
        delta = math.sqrt(
            sum(float((v - clip32.stored[n]).double().square().sum()) for n, v in edit.values.items())
        )
        assert delta == pytest.approx(event.relative_step * event.weight_norm, rel=1e-3)
        if scale == "relative_norm":
            assert event.relative_step == pytest.approx(0.05)
        else:
            assert event.step_size == 0.05


@pytest.mark.parametrize("base", ["razor", "razor_paper"])
def test_of_a_shared_budget_each_may_spend_half_of_what_is_left(clip: Clip, base: str) -> None:
    edit = razor(
        clip,
        base,
        budget="shared",
        early_stop=False,
        grow_rounds=0,
        floor={"m5": 90.0},
        search_return="largest_stable",
        trim_steps=0,
    )
    steps = [e for e in edit.log if e.action in {"apply", "refuse"}]
    assert len(steps) >= 2
    for rank, event in enumerate(steps, 1):
        assert steps[0].before["util"] - event.after["util"] <= 10 * (1 - 0.5**rank) + 1e-9


@pytest.mark.parametrize("base", ["razor", "razor_paper", "razor_anchor"])
def test_the_log_tells_what_the_saved_values_do(clip: Clip, base: str) -> None:
    edit = razor(clip, base)
    applied = [e for e in edit.log if e.action in {"apply", "trim"}]
    assert applied and [e.step for e in edit.log] == list(range(len(edit.log)))
    reference = DualBoard(clip, SETS, Cost(), fast=False)
    assert applied[0].before == pytest.approx(reference.base, abs=1e-4)
    assert reference.trial({n: v.float() for n, v in edit.values.items()}, []) == pytest.approx(
        applied[-1].after, abs=1e-4
    )


@pytest.mark.parametrize("base", ["razor", "razor_anchor"])
def test_gradients_see_forget_and_retain_only_and_nothing_sees_evaluation(
    clip: Clip, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluation = {*SETS.evaluation.forget.keys, *SETS.evaluation.retain.keys}
    validation = {*SETS.validation.forget.keys, *SETS.validation.retain.keys}
    poisoned = without(SETS, lambda source: source.forbidden.update(evaluation))
    touched: set[str] = set()

    def spy(model: Clip, pairs: Pairs, *rest: Any, **keywords: Any) -> Any:
        source = pairs.sources["person"]
        start = len(source.loaded)
        found = set_gradient(model, pairs, *rest, **keywords)
        touched.update(source.loaded[start:])
        return found

    monkeypatch.setattr(named_losses, "set_gradient", spy)
    run(preset(base, tau=math.inf, grow_rounds=1, search_steps=2, **UNREACHABLE), clip, poisoned)
    assert touched == {*SETS.forget.keys, *SETS.retain.keys}
    everything = set(poisoned.forget.sources["person"].loaded)
    assert everything == touched | validation and not everything & evaluation


def test_fresh_gradients_between_components_change_the_edit(clip: Clip) -> None:
    settings = {"step": "fixed", "step_size": 0.2, "early_stop": False, "tau_mode": "topk", "tau": 3}
    stale, fresh = razor(clip, **settings), razor(clip, refresh_gradients=True, **settings)
    assert stale.components == fresh.components
    assert fresh.cost.backwards == 3 * stale.cost.backwards
    first = events(stale, "apply")[0], events(fresh, "apply")[0]
    assert first[0].relative_step == first[1].relative_step
    assert any(not torch.equal(stale.values[n], fresh.values[n]) for n in stale.values)


def test_cost_counts_pictures(clip: Clip) -> None:
    edit = razor(clip, step="fixed", step_size=0.1, **ONE)
    assert edit.cost.backwards == len(SETS.forget) + len(SETS.retain)
    assert edit.cost.evaluations == 1 and edit.cost.seconds > 0
    assert make_clip().weights_hash() == clip.weights_hash()
