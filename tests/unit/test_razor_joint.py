"""RAZOR where all chosen components move together: one common step, and others along renewed gradients."""

from __future__ import annotations

from typing import Any

import pytest
from presets import preset
from tiny_world import leaked, make_sets, run

from razor_cli.contract.edit import Edit, Event
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip
from razor_cli.methods import razor_step

SETS = make_sets()
UNREACHABLE = {"target.m1": 0.0, "target.m5": 100.0, "target.m4_drop": 0.0}
JOINT = {"order": "joint", "tau_mode": "topk", "tau": 3}


def events(edit: Edit, action: str) -> list[Event]:
    return [e for e in edit.log if e.action == action]


def razor(model: Clip, **settings: Any) -> Edit:
    return run(preset("razor_bounded", **settings), model, SETS)


def test_a_joint_round_moves_all_chosen_components_by_the_same_share_of_their_norms(clip32: Clip) -> None:
    edit = razor(clip32, step="fixed", step_size=0.05, early_stop=False, **JOINT)
    applied = events(edit, "apply")
    assert [e.component for e in applied] == [e.component for e in events(edit, "select")] and len(
        applied
    ) == 3
    assert [e.relative_step for e in applied] == pytest.approx([0.05 / 3] * 3), (
        "a third of a step for each of three"
    )
    assert edit.cost.evaluations == 1, "one trial for all of them"
    assert leaked(edit, clip32) == []


def test_gradients_of_each_round_may_come_from_other_pictures(
    clip32: Clip, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[tuple[str, set[str]]] = []
    real = Lab._gradient

    def spy(self: Lab, asked: Any, *rest: Any) -> Any:
        taken.append((asked.which, {p.key for p in asked.part.pictures}))
        return real(self, asked, *rest)

    monkeypatch.setattr(Lab, "_gradient", spy)
    still = {**JOINT, "step": "fixed", "step_size": 0.01, "joint_rounds": 3, "refresh_gradients": True}
    for draw in ("first", "anew"):
        taken.clear()
        razor(clip32, early_stop=False, grow_sample=4, grow_draw=draw, **still)
        for which in ("forget", "retain"):
            _, second, third = (keys for w, keys in taken if w == which)
            assert len(second) == len(third) == 4
            assert (second == third) == (draw == "first"), which


@pytest.mark.parametrize(("refresh", "rounds"), [(True, 3), (False, 1)])
def test_joint_rounds_need_renewed_gradients_and_search_ever_shorter_steps(
    clip32: Clip, monkeypatch: pytest.MonkeyPatch, refresh: bool, rounds: int
) -> None:
    uppers: list[float] = []
    real = razor_step.bisect

    def spy(trial: Any, upper: float, *rest: Any) -> Any:
        uppers.append(upper)
        return real(trial, upper, *rest)

    monkeypatch.setattr(razor_step, "bisect", spy)
    settings = {
        "refresh_gradients": refresh,
        "joint_rounds": 3,
        "grow_rounds": 0,
        "floor.m5": 0.0,
        "floor.m4_drop": 100.0,
    }
    edit = razor(clip32, search_steps=3, step_size=0.4, **settings, **JOINT, **UNREACHABLE)
    assert uppers == pytest.approx([0.4 / 3, 0.2 / 3, 0.1 / 3][:rounds])
    assert edit.cost.evaluations == 3 * rounds
    applied = events(edit, "apply")
    assert applied, "the world must let a step through"


def test_growth_after_joint_rounds_adds_to_them(clip: Clip) -> None:
    edit = razor(clip, grow_rounds=2, search_steps=3, **JOINT, **UNREACHABLE)
    chosen = {e.component for e in events(edit, "select")}
    assert len(chosen) == 3 and not chosen & {e.component for e in events(edit, "grow")}
