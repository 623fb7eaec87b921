"""A second attempt from the unedited weights: when it is made, what it leaves behind, which edit is kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_world import make_clip, make_sets, preset, run

from razor_cli.engine import board
from razor_cli.methods.base import Edit
from razor_cli.records import edited_components

SETS = make_sets()
EASY = {"target_m1": 60.0, "target_m5": 0.0, "target_m4_drop": 100.0, "search_floor": 0.0, "search_m4_drop": 100.0,
        "search_others_drop": 100.0, "search_return": "largest_stable", "retry_others_drop": 100.0, "grow_rounds": 2}  # fmt: skip
BLOCKED = {"search_floor": 100.0, "step_size": 1e-6}  # a first attempt that gets nowhere
UNREACHABLE = {"target_m1": 0.0, "target_m5": 100.0, "target_m4_drop": 0.0}


def razor(**settings: Any) -> Edit:
    return run(preset("razor", **(EASY | settings)), make_clip(torch.float32), SETS)


def actions(edit: Edit) -> list[str]:
    return [e.action for e in edit.log]


def same(a: Edit, b: Edit) -> bool:
    return a.values.keys() == b.values.keys() and all(torch.equal(v, b.values[n]) for n, v in a.values.items())


def test_no_second_attempt_when_the_target_is_met_or_none_is_asked_for() -> None:
    assert "retry" not in actions(razor(retry_floor=50.0))
    assert "retry" not in actions(razor(retry_floor=None, **UNREACHABLE))


def test_a_better_second_attempt_is_the_edit_that_its_floor_gives_alone() -> None:
    refused = {"search_floor": 100.0, "search_m4_drop": 100.0}
    both = razor(**refused, target_m1=5.0, retry_floor=0.0)
    alone = razor(target_m1=5.0, retry_floor=None)
    assert "retry" in actions(both) and same(both, alone)
    assert both.components == alone.components
    assert not same(both, razor(**refused, target_m1=5.0, retry_floor=None))


def test_a_second_attempt_may_take_the_other_order() -> None:
    refused = {"search_floor": 100.0, "search_m4_drop": 100.0, "target_m1": 5.0, "retry_floor": 0.0}
    sequential, joint = razor(**refused), razor(**refused, retry_order="joint")
    assert same(joint, razor(**(refused | {"retry_floor": None, "search_floor": 0.0}), order="joint"))
    assert not same(joint, sequential)
    assert any("joint, floor 0" in n for n in joint.notes)


def test_a_second_attempt_that_is_no_better_leaves_the_first_edit() -> None:
    first = razor(**UNREACHABLE, retry_floor=None)
    both = razor(**UNREACHABLE, retry_floor=100.0)
    assert "retry" in actions(both) and same(both, first)
    assert both.components == first.components
    assert any("no better" in n for n in both.notes)


def test_a_second_attempt_works_where_memory_keeps_no_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = razor(**UNREACHABLE, retry_floor=100.0)
    monkeypatch.setattr(board, "KEPT_BYTES", 1)
    assert same(razor(**UNREACHABLE, retry_floor=100.0), kept)


def test_the_record_describes_the_edit_that_was_kept() -> None:
    first, both = razor(**UNREACHABLE, retry_floor=None), razor(**UNREACHABLE, retry_floor=100.0)
    assert edited_components(both.components, both.log) == edited_components(first.components, first.log)


def test_a_recorded_step_is_that_of_the_trimmed_edit() -> None:
    whole, trimmed = razor(trim_steps=0, retry_floor=None), razor(trim_steps=6, retry_floor=None)
    (event,) = [e for e in trimmed.log if e.action == "trim"]
    assert event.step_size is not None and 0 < event.step_size < 1
    steps = [{c.name: c.relative_step for c in edited_components(e.components, e.log)} for e in (whole, trimmed)]
    assert steps[1] == pytest.approx({n: v * event.step_size for n, v in steps[0].items() if v is not None})
