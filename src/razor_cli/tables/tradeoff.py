"""The trade-off score of RAZOR's Table 5: mean accuracy over mean cost, under every rule that was tried to
reproduce the printed column. None does.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What an edit costs: seconds, memory and storage in GB."""

    seconds: float
    memory: float
    storage: float

    @property
    def each(self) -> tuple[float, float, float]:
        """Return the three."""
        return self.seconds, self.memory, self.storage


Rule = Callable[[Costs, Costs], float]  # of a method's costs, and the largest of each kind among all methods


def _timed(seconds: Callable[[float], float]) -> Rule:
    """Return the mean of the three costs with time as a function of its seconds."""
    return lambda own, _: statistics.fmean((seconds(own.seconds), own.memory, own.storage))


def _of_largest(own: Costs, largest: Costs) -> float:
    """Return the mean of the shares of the largest cost of each kind."""
    return statistics.fmean(a / b if b else 0.0 for a, b in zip(own.each, largest.each, strict=True))


def _geometric(own: Costs, _: Costs) -> float:
    return statistics.geometric_mean(own.each) if min(own.each) > 0 else 0.0


RULES: Mapping[str, Rule] = {  # the caption's own words first, then the nearest to what is printed
    "literal, seconds": _timed(lambda seconds: seconds),
    "hours": _timed(lambda seconds: seconds / 3600),
    "minutes": _timed(lambda seconds: seconds / 60),
    "log10 of seconds": _timed(lambda seconds: math.log10(seconds) if seconds > 0 else -math.inf),
    "shares of the largest": _of_largest,
    "geometric mean": _geometric,
}


def largest(costs: Mapping[str, Costs]) -> Costs:
    """Return the largest cost of each kind."""
    found = [max(own) for own in zip(*(c.each for c in costs.values()), strict=True)]
    return Costs(seconds=found[0], memory=found[1], storage=found[2])


def scores(accuracy: Mapping[str, float], costs: Mapping[str, Costs], rule: Rule) -> dict[str, float]:
    """Return the score of every method that has accuracy and costs; a cost that is not above 0 gives none."""
    both = {method: own for method, own in costs.items() if method in accuracy}
    if not both:
        return {}
    top = largest(both)
    means = {method: rule(own, top) for method, own in both.items()}
    return {method: accuracy[method] / mean for method, mean in means.items() if mean > 0}
