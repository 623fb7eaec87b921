"""A Target with its floors, and the validation metrics of an unedited model that it is against."""

from __future__ import annotations

from collections.abc import Mapping

from razor_cli.dual.goals import GOALS
from razor_cli.engine.search import Aim

BASE = {
    "m1": 100.0,
    "m1_generic": 100.0,
    "margin": 10.0,
    "margin_generic": 4.0,
    "m2": 20.0,
    "m4_generic": 80.0,
    "util": 100.0,
    "others": 90.0,
}
TARGET = {"m1": 55.0, "m4_drop": 2.0, "m5": 98.0}
FLOOR = {"m5": 90.0, "m4_drop": 2.0, "others_drop": 100.0}


def aim(
    base: Mapping[str, float] = BASE, target: Mapping[str, float | None] | None = None, **floor: float
) -> Aim:
    """Return the aim with another `target` and some floors changed."""
    return Aim.against(base, GOALS, TARGET if target is None else target, FLOOR | floor)


def line(size: float) -> dict[str, float]:
    """Forgetting and utility fall evenly: the target is met from 0.45 on, and a step costs ten
    points of M5.
    """
    return BASE | {"m1": 100 - 100 * size, "m1_generic": 100 - 100 * size, "util": 100 - 10 * size}
