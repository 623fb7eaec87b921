"""Step sizes: what a trial must keep, what it should reach, and the bisection between (RAZOR section 3.4,
Algorithm 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from razor_cli.contract.components import Component, parameters_named
from razor_cli.contract.family import Board, Family, Metrics
from razor_cli.contract.goals import Goals, Limit, bounds_of
from razor_cli.engine.choices import Return
from razor_cli.metrics.info import NOT_RECOGNISED

NOTHING_TO_FORGET = f"nothing to forget: {NOT_RECOGNISED}"


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Target and floors on the validation set, in printed units. Losses are against the unedited model."""

    base: Metrics
    forget: tuple[Limit, ...]  # what must come down
    keep: Mapping[str, float] = field(
        default_factory=dict
    )  # metric -> points it may lose when the Target is met
    floor: Mapping[str, float] = field(default_factory=dict)  # metric -> points it may lose in any trial
    whole: bool = False  # the score counts what was lost beyond the Target, too

    @classmethod
    def of(
        cls, board: Board, target: Mapping[str, float | None], floor: Mapping[str, float | None] | None = None
    ) -> Aim:
        """Return the aim that a method's settings describe on a board."""
        return cls.against(dict(board.base), board.goals, target, floor or {})

    @classmethod
    def against(
        cls,
        base: Metrics,
        goals: Goals,
        target: Mapping[str, float | None],
        floor: Mapping[str, float | None],
    ) -> Aim:
        """Return the aim against the metrics of an unedited model."""
        wanted = bounds_of(target, goals, base)
        return cls(
            base=base, forget=wanted.forget, keep=wanted.lose, floor=bounds_of(floor, goals, base).lose
        )

    def forgetting(self, found: Metrics) -> list[float]:
        """Return the values that must come down."""
        return [found[x.metric] for x in self.forget]

    def met(self, found: Metrics) -> bool:
        """Tell whether the Target holds: forgotten, and utility kept."""
        return all(found[x.metric] <= x.most for x in self.forget) and all(
            self.lost(found, name) <= points for name, points in self.keep.items()
        )

    def forgotten(self, found: Metrics) -> bool:
        """Tell whether everything that must come down has."""
        return all(found[x.metric] <= x.most for x in self.forget)

    @property
    def looked_at(self) -> set[str]:
        """Return the metrics that this aim looks at."""
        slopes = {x.slope for x in self.forget if x.slope}
        return {x.metric for x in self.forget} | slopes | {*self.keep, *self.floor}

    @property
    def idle(self) -> bool:
        """Tell whether there is nothing to forget: the unedited model is no higher than the Target asks."""
        return bool(self.forget) and all(self.base[x.metric] <= x.most for x in self.forget)

    def lost(self, found: Metrics, name: str) -> float:
        """Return the points of a metric that were lost; negative where it gained."""
        return self.base[name] - found[name]

    def stable(self, found: Metrics, share: float = 1.0) -> bool:
        """Tell whether a trial is finite and keeps utility within `share` of what may be spent (switch A11).

        Forgetting is no constraint: single components could then never pass.
        """
        if not all(math.isfinite(v) for v in found.values()):
            return False
        return all(self.lost(found, name) <= share * points for name, points in self.floor.items())

    def score(self, found: Metrics) -> float:
        """Return 0 when forgotten, else minus how far the metrics are above their targets and their slopes
        above 0 (switch A12).

        M1 stays at 100 until the first picture changes sides, and M2 falls also when all texts move away
        together; the margin tells steps apart that both cannot. Of a `whole` aim 0 when the Target is met:
        what was lost beyond it counts as well.
        """
        beyond = self._beyond(found) if self.whole else 0.0
        excess = sum(max(0.0, found[x.metric] - x.most) for x in self.forget)
        left = sum(max(0.0, found[x.slope]) for x in self.forget if x.slope)
        return -beyond - (excess + left if excess > 0 else 0.0)

    def _beyond(self, found: Metrics) -> float:
        """Return the points that were lost beyond what the Target lets go."""
        return sum(max(0.0, self.lost(found, name) - points) for name, points in self.keep.items())

    def shortfall(self, found: Metrics) -> float:
        """Return how far metrics are from the Target, in points; 0 exactly when it is met.

        The sum of minus the score and of what was lost beyond what may be lost.
        """
        return -self.score(found) + (0.0 if self.whole else self._beyond(found))


@dataclass(frozen=True, kw_only=True)
class Found:
    """Result of a search: step size (0: none acceptable), its metrics, number of trials."""

    step_size: float
    metrics: Metrics
    trials: int


def bisect(
    trial: Callable[[float], Metrics],
    upper: float,
    steps: int,
    aim: Aim,
    share: float,
    rule: Return,
    start: Metrics,
    must_improve: bool = True,
) -> Found:
    """Bisect on [0, upper]: an acceptable midpoint raises the lower end, any other lowers the upper end.

    What is returned must score better than `start`, no step at all; without `must_improve` the best
    acceptable trial is returned whatever `start` scores, as Algorithm 2 begins with s_best = -inf.
    """
    low, high = 0.0, upper
    best, best_metrics, best_score = 0.0, start, aim.score(start)
    if (
        rule is Return.SMALLEST_SUFFICIENT and best_score == 0.0
    ):  # forgotten already: the smallest step is none
        return Found(step_size=0.0, metrics=start, trials=0)
    if not must_improve:
        best_score = -math.inf
    for _ in range(steps):
        middle = (low + high) / 2
        metrics = trial(middle)
        if not aim.stable(metrics, share):
            high = middle
            continue
        score = aim.score(metrics)
        enough = rule is Return.SMALLEST_SUFFICIENT and score == 0.0
        back = rule is Return.TURN_BACK and score <= best_score
        larger = rule is Return.LARGEST_STABLE or score > best_score
        if larger or (enough and (best == 0.0 or middle < best)):
            best, best_metrics, best_score = middle, metrics, score
        low, high = (low, middle) if enough or back else (middle, high)
    return Found(step_size=best, metrics=best_metrics, trials=steps)


def stepped(
    family: Family,
    components: Sequence[Component],
    directions: Sequence[Sequence[Tensor]],
    sizes: Sequence[float],
) -> dict[str, Tensor]:
    """Return theta - size * direction for every touched parameter, rounded to the dtype its file stores.

    Rounding comes before evaluation, so that scores describe what a patch writes. With sizes of 0 the values
    are the weights themselves.
    """
    live = parameters_named(family, (name for c in components for name in c.params))
    values = {name: value.clone() for name, value in live.items()}
    for component, direction, size in zip(components, directions, sizes, strict=True):
        for view, change in zip(component.views(values), direction, strict=True):
            view.sub_(change, alpha=size)
    return {name: value.to(family.storage_dtype(name)).to(live[name].dtype) for name, value in values.items()}


def norm(views: Sequence[Tensor]) -> float:
    """Return the Euclidean norm over the concatenation of several tensors."""
    return float(sum(float((v.double() ** 2).sum()) for v in views)) ** 0.5
