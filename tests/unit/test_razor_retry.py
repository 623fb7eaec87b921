"""A second attempt from the unedited weights: when it is made, what it leaves behind, which edit is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run

from razor_cli.contract.edit import Edit
from razor_cli.dual import board
from razor_cli.errors import ConfigError
from razor_cli.runs.records import edited_components

SETS = make_sets()
EASY = {
    "target.m1": 60.0,
    "target.m5": 0.0,
    "target.m4_drop": 100.0,
    "floor.m5": 0.0,
    "floor.m4_drop": 100.0,
    "floor.others_drop": 100.0,
    "search_return": "largest_stable",
    "grow_rounds": 2,
    "order": "sequential",
    "retries": [],
    "selector": "phi",
    "forget_loss": "concept_uniform",
}
BLOCKED = {  # a first attempt that gets nowhere
    "floor.others_drop": 0.0,
    "floor.m4_drop": 0.0,
    "floor.m5": 100.0,
    "step_size": 50.0,
    "search_steps": 3,
    "target.m1": 5.0,
}
LOOSE = {"floor.others_drop": 100.0, "floor.m5": 0.0}
STRICT = [{"floor.m5": 100.0}]
UNREACHABLE = {"target.m1": 0.0, "target.m5": 100.0, "target.m4_drop": 0.0}


_edits: dict[str, Edit] = {}


def razor(**settings: Any) -> Edit:
    """Return the edit of some settings over the easy ones; computed once."""
    key = json.dumps(settings, sort_keys=True)
    if key not in _edits:
        _edits[key] = computed(**settings)
    return _edits[key]


def computed(**settings: Any) -> Edit:
    return run(preset("razor", **(EASY | settings)), make_clip(torch.float32), SETS)


def actions(edit: Edit) -> list[str]:
    return [e.action for e in edit.log]


def same(a: Edit, b: Edit) -> bool:
    return a.values.keys() == b.values.keys() and all(
        torch.equal(v, b.values[n]) for n, v in a.values.items()
    )


def test_no_second_attempt_when_the_target_is_met_or_none_is_asked_for() -> None:
    assert "retry" not in actions(razor(retries=[{"floor.m5": 50.0}]))
    assert "retry" not in actions(razor(**UNREACHABLE))


def test_a_better_second_attempt_is_the_edit_that_its_floor_gives_alone() -> None:
    refused = {"floor.m5": 100.0, "floor.m4_drop": 100.0, "target.m1": 5.0}
    both = razor(**refused, retries=[{"floor.m5": 0.0}])
    alone = razor(**{"target.m1": 5.0})
    assert "retry" in actions(both) and same(both, alone)
    assert both.components == alone.components
    assert not same(both, razor(**refused))


def test_a_further_attempt_changes_what_it_says_and_nothing_else() -> None:
    for changes in (
        {"max_components": 1},
        {"order": "joint"},
        {"grow_rounds": 0},
        {"selector": "gradient_norm"},
        {"forget_loss": "cosine"},
        {"forget_loss": "concept_margin"},
    ):
        both = razor(**BLOCKED, retries=[changes | LOOSE])
        alone = razor(**(BLOCKED | changes | LOOSE))
        assert alone.values and same(both, alone), changes
        assert any("attempt 2" in n and "floor.m5 0" in n and n.endswith("kept") for n in both.notes)


def test_a_further_attempt_with_another_loss_leaves_the_first_ones_gradients_to_those_after_it() -> None:
    losses = [
        {"forget_loss": "cosine"},
        {"forget_loss": "cosine", "max_components": 1},
        {"max_components": 1},
    ]
    both = razor(**BLOCKED, lambda_mismatch=0.1, retries=[*losses[:2], losses[2] | LOOSE])
    alone = razor(**(BLOCKED | losses[2] | LOOSE), lambda_mismatch=0.1)
    assert alone.values and same(both, alone)
    assert not same(razor(**(BLOCKED | losses[1] | LOOSE), lambda_mismatch=0.1), alone)


@pytest.mark.parametrize(("first", "second"), [("concept_uniform", "cosine"), ("cosine", "concept_uniform")])
def test_a_further_attempt_takes_the_mismatch_of_its_own_loss(first: str, second: str) -> None:
    settings = BLOCKED | {"lambda_mismatch": 1.0}
    both = razor(**settings, forget_loss=first, retries=[LOOSE | {"forget_loss": second}])
    blocked_alone, alone = (
        razor(**settings, forget_loss=first),
        razor(**(settings | LOOSE), forget_loss=second),
    )
    assert alone.values and same(both, alone)
    spent = (
        blocked_alone.cost.backwards + alone.cost.backwards - len(SETS.retain)
    )  # with the cosine it is -g_f, and free
    assert both.cost.backwards == spent


def test_attempts_go_on_until_the_target_is_met() -> None:
    refused = {
        "floor.m5": 100.0,
        "floor.m4_drop": 100.0,
        "target.m1": 5.0,
        "step_size": 1e-6,
        "grow_rounds": 0,
    }
    assert actions(razor(**refused, retries=[*STRICT, *STRICT])).count("retry") == 2
    assert actions(razor(**(refused | {"target.m1": 100.0}), retries=[*STRICT, *STRICT])).count("retry") == 0
    assert actions(razor(**UNREACHABLE, retries=[*STRICT, *STRICT])).count("retry") == 2


@pytest.mark.parametrize(("name", "value"), [("max_components", 0), ("floor.m5", 101.0), ("grow_rounds", -1)])
def test_a_retry_out_of_range_is_refused_by_its_key(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"method.retries: {name}"):
        razor(retries=[{name: value}])


def test_a_second_attempt_that_is_no_better_leaves_the_first_edit() -> None:
    first = razor(**UNREACHABLE)
    both = razor(**UNREACHABLE, retries=STRICT)
    assert "retry" in actions(both) and same(both, first)
    assert both.components == first.components
    assert any("no better" in n for n in both.notes)


def test_a_second_attempt_works_where_memory_keeps_no_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = razor(**UNREACHABLE, retries=STRICT)
    monkeypatch.setattr(board, "kept_bytes", lambda _: 1)
    assert same(computed(**UNREACHABLE, retries=STRICT), kept)


def test_the_record_describes_the_edit_that_was_kept() -> None:
    first, both = razor(**UNREACHABLE), razor(**UNREACHABLE, retries=STRICT)
    assert edited_components(both.components, both.log) == edited_components(first.components, first.log)


def test_the_steps_of_joint_rounds_add_up_and_those_of_a_superseded_attempt_do_not_count() -> None:
    joint = {"order": "joint", "joint_rounds": 2, "step": "fixed", "step_size": 0.05, "early_stop": False}
    edit = razor(**joint)
    applied = [e for e in edit.log if e.action == "apply"]
    assert len(applied) == 2 * len(edit.components) > 0
    for c in edited_components(edit.components, edit.log):
        steps = [e.relative_step for e in applied if e.component == c.name]
        assert c.relative_step == pytest.approx(sum(steps)) and len(steps) == 2
    both, alone = razor(**BLOCKED, retries=[LOOSE]), razor(**(BLOCKED | LOOSE))
    assert edited_components(both.components, both.log) == edited_components(alone.components, alone.log)


def test_a_recorded_step_is_that_of_the_trimmed_edit() -> None:
    whole, trimmed = razor(trim_steps=0), razor(trim_steps=6)
    (event,) = [e for e in trimmed.log if e.action == "trim"]
    assert event.step_size is not None and 0 < event.step_size < 1
    steps = [
        {c.name: c.relative_step for c in edited_components(e.components, e.log)} for e in (whole, trimmed)
    ]
    assert steps[1] == pytest.approx({n: v * event.step_size for n, v in steps[0].items() if v is not None})
