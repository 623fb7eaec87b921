"""Which setting the sweeps of a method choose."""

from __future__ import annotations

import pytest

from razor_cli.tables.tuning import TRACED, TRADEOFF, Trial, chosen, chosen_traced, traced_rows


def trial(
    setting: str, target: str, missing: float, m1: float = 10.0, m5: float = 98.0, seconds: float = 10.0
) -> Trial:
    values = {"missing": missing, "M1 mean ↓ %": m1, "M5 ↑ %": m5, "seconds": seconds}
    return Trial(method="ga", setting=setting, target=target, model="clip_tiny STAND-IN", values=values)


def both(setting: str, first: float, second: float, **more: float) -> list[Trial]:
    return [trial(setting, "a", first, **more), trial(setting, "b", second, **more)]


@pytest.mark.parametrize(
    ("own", "wanted"),
    [
        (
            [*both("lr=1", 0.0, 6.0), *both("lr=2", 1.0, 2.0)],
            "lr=2",
        ),  # least missing counts, not the targets met
        (
            [*both("lr=1", 0.0, 1.5), *both("lr=2", 0.5, 0.5)],
            "lr=1",
        ),  # less than a point apart: more targets met
        ([*both("lr=1", 0.2, 0.2, m5=97.0), *both("lr=2", 0.5, 0.5, m5=99.0)], "lr=2"),  # ... then M5
        (
            [*both("lr=1", 0.2, 0.2, seconds=20.0), *both("lr=2", 0.5, 0.5, seconds=5.0)],
            "lr=2",
        ),  # ... then cost
        (
            [*both("lr=1", 0.0, 0.0, m1=56.0), *both("lr=2", 9.0, 9.0)],
            "lr=2",
        ),  # one that forgets on every target
        (both("lr=1", 0.0, 0.0, m1=56.0), None),
        ([*both("lr=1", 5.0, 5.0), trial("lr=2", "a", 0.0)], "lr=1"),  # seen on one target only: no candidate
        ([], None),
    ],
)
def test_the_rule(own: list[Trial], wanted: str | None) -> None:
    assert chosen(own) == wanted


def tried(setting: str, target: str, tradeoff: float) -> Trial:
    values = {**dict.fromkeys(TRACED, 50.0), TRADEOFF: tradeoff, "seconds": 1.0}
    return Trial(method="ga", setting=setting, target=target, model="clip_tiny STAND-IN", values=values)


def test_with_a_taxonomy_the_highest_mean_of_q_u_wins_among_those_tried_everywhere() -> None:
    own = [
        tried("lr=1", "a", 90.0),
        tried("lr=1", "b", 10.0),
        tried("lr=2", "a", 60.0),
        tried("lr=2", "b", 60.0),
    ]
    own.append(tried("lr=3", "a", 99.0))
    assert chosen_traced(own) == "lr=2" and [r[0] for r in traced_rows(own)] == ["lr=2", "lr=1", "lr=3"]
    assert own[0].traced and not trial("lr=1", "a", 0.0).traced
    assert chosen_traced([]) is None
