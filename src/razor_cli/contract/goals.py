"""Goals: the names that a method's `target` and `floor` may use, and what each means on a family's
scoreboard.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Meaning(StrEnum):
    """What the number of a goal bounds."""

    AT_MOST = "at_most"  # the metric itself: forgotten means no more than this
    DROP = "drop"  # points that the metric may lose against the unedited model
    KEPT = "kept"  # 100 minus the points that the metric may lose
    SHARE = "share"  # percent of what the unedited model had: gone (forgetting) or kept


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One name: the metrics of the board that it bounds. Of each the first that the board has counts.

    `slopes` go with the metrics: while one is above its bound, its slope tells steps apart that it cannot.
    """

    meaning: Meaning
    metrics: tuple[tuple[str, ...], ...]
    slopes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A metric that must come down to `most`, and the metric whose positive values tell steps apart until it
    does.
    """

    metric: str
    most: float
    slope: str | None = None


Goals = Mapping[str, Goal]


@dataclass(frozen=True, kw_only=True)
class Instead:
    """What stands in place of goals and bounds that say nothing on a model, with the same numbers."""

    goals: Mapping[str, tuple[str, ...]]  # goal -> goals
    bounds: Mapping[tuple[str, str], tuple[str, str]]  # metric and variant -> name of the bound, and variant


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Goals with numbers, resolved against the metrics that a board has."""

    forget: tuple[Limit, ...] = ()
    lose: Mapping[str, float] = field(default_factory=dict)  # metric -> points that may be lost


def bounds_of(wanted: Mapping[str, float | None], goals: Goals, base: Mapping[str, float]) -> Bounds:
    """Return what `wanted` (goal -> number; None: not a goal) bounds on a board with the metrics of `base`.

    A goal whose metrics the board does not have bounds nothing (a target without other concepts).
    """
    forget: list[Limit] = []
    lose: dict[str, float] = {}
    for name, number in wanted.items():
        if number is None or goals[name].meaning is Meaning.SHARE:
            continue
        goal = goals[name]
        found = [_first(names, base) for names in goal.metrics]
        if goal.meaning is Meaning.AT_MOST:
            slopes = [_first(names, base) for names in goal.slopes] or [None] * len(found)
            forget += [Limit(metric=m, most=number, slope=s) for m, s in zip(found, slopes, strict=True) if m]
        else:
            points = number if goal.meaning is Meaning.DROP else 100 - number
            lose |= {m: points for m in found if m}
    return Bounds(forget=tuple(forget), lose=lose)


def _first(names: tuple[str, ...], base: Mapping[str, float]) -> str | None:
    return next((n for n in names if n in base), None)
