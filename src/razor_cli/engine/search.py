"""Step sizes: what a trial must keep, what it should reach, and the bisection between (RAZOR section 3.4,
Algorithm 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

from razor_cli.contract.components import Component, parameters
from razor_cli.families.clip.family import Clip

Metrics = Mapping[str, float]


class Return(StrEnum):
    """Which acceptable trial a bisection returns (switch A13)."""

    BEST_SCORE = "best_score"  # Algorithm 2
    LARGEST_STABLE = "largest_stable"  # the paper's prose
    SMALLEST_SUFFICIENT = (
        "smallest_sufficient"  # ours: once the Target is met, look for a smaller step that meets it too
    )


class Prompt(StrEnum):
    """Against which retain prompts forgetting is aimed at."""

    BOTH = "both"
    MEAN_OF_CLASSES = "mean_of_classes"
    GENERIC = "generic"


def kept_utility(found: Metrics, base: Metrics) -> float:
    """Return 100 minus the points of retrieval accuracy (`util`) that were lost against the unedited model.

    M5 as printed counts a gain as it counts a loss. To a search a gain is no harm: on few validation pictures
    a small step often gains some points, and a search that took them for damage went on to a step so large
    that it lost them again.
    """
    return 100.0 - max(0.0, base["util"] - found["util"])


@dataclass(frozen=True, kw_only=True)
class Aim:
    """Target and floors on the validation set, in printed units. Drops are against the unedited model."""

    base: Metrics
    m1: float
    prompts: Prompt
    m4_drop: float
    m5: float
    floor_m5: float
    floor_m4_drop: float
    floor_others_drop: float
    others_drop: float = math.inf  # of accuracy on other concepts, as part of the Target

    def forgetting(self, found: Metrics) -> list[float]:
        """Return the M1 values that must come down."""
        return self._both(found, "m1")

    def met(self, found: Metrics) -> bool:
        """Tell whether the Target holds: forgotten, and utility kept."""
        forgotten = all(v <= self.m1 for v in self.forgetting(found))
        kept = (
            self.utility(found) >= self.m5 and found["m4_generic"] >= self.base["m4_generic"] - self.m4_drop
        )
        return forgotten and kept and self.lost_others(found) <= self.others_drop

    def utility(self, found: Metrics) -> float:
        """Return 100 minus the points of retrieval accuracy that were lost."""
        return kept_utility(found, self.base)

    def lost_others(self, found: Metrics) -> float:
        """Return the points that accuracy on other concepts lost; 0 for sets without any."""
        return self.base.get("others", 0.0) - found.get("others", 0.0)

    def stable(self, found: Metrics, share: float = 1.0) -> bool:
        """Tell whether a trial is finite and keeps utility within `share` of what may be spent (switch A11).

        Forgetting is no constraint: single components could then never pass.
        """
        if not all(math.isfinite(v) for v in found.values()):
            return False
        drop = self.base["m4_generic"] - found["m4_generic"] <= share * self.floor_m4_drop
        others = self.lost_others(found) <= share * self.floor_others_drop
        return drop and others and 100 - self.utility(found) <= share * (100 - self.floor_m5)

    def score(self, found: Metrics) -> float:
        """Return 0 when forgotten, else minus how far M1 is above its target and how far its margin is above
        0 (switch A12).

        M1 stays at 100 until the first picture changes sides, and M2 falls also when all texts move away
        together; the margin tells steps apart that both cannot.
        """
        excess = sum(max(0.0, v - self.m1) for v in self.forgetting(found))
        left = sum(max(0.0, m) for m in self._both(found, "margin"))
        return -excess - left if excess > 0 else 0.0

    def _both(self, found: Metrics, name: str) -> list[float]:
        """Return a metric against the retain prompts aimed at; a target without other classes has the generic
        one only.
        """
        mean, generic = found.get(name, found[f"{name}_generic"]), found[f"{name}_generic"]
        return {Prompt.BOTH: [mean, generic], Prompt.MEAN_OF_CLASSES: [mean], Prompt.GENERIC: [generic]}[
            self.prompts
        ]


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
) -> Found:
    """Bisect on [0, upper]: an acceptable midpoint raises the lower end, any other lowers the upper end."""
    low, high = 0.0, upper
    best, best_metrics, best_score = 0.0, start, aim.score(start)
    if (
        rule is Return.SMALLEST_SUFFICIENT and best_score == 0.0
    ):  # forgotten already: the smallest step is none
        return Found(step_size=0.0, metrics=start, trials=0)
    for _ in range(steps):
        middle = (low + high) / 2
        metrics = trial(middle)
        if not aim.stable(metrics, share):
            high = middle
            continue
        score = aim.score(metrics)
        enough = rule is Return.SMALLEST_SUFFICIENT and score == 0.0
        larger = rule is Return.LARGEST_STABLE or score > best_score
        if larger or (enough and (best == 0.0 or middle < best)):
            best, best_metrics, best_score = middle, metrics, score
        low, high = (low, middle) if enough else (middle, high)
    return Found(step_size=best, metrics=best_metrics, trials=steps)


def stepped(
    model: Clip,
    components: Sequence[Component],
    directions: Sequence[Sequence[Tensor]],
    sizes: Sequence[float],
) -> dict[str, Tensor]:
    """Return theta - size * direction for every touched parameter, rounded to the dtype its file stores.

    Rounding comes before evaluation, so that scores describe what a patch writes. With sizes of 0 the values
    are the weights themselves.
    """
    live = parameters(model)
    values = {name: live[name].clone() for c in components for name in c.params}
    for component, direction, size in zip(components, directions, sizes, strict=True):
        for view, change in zip(component.views(values), direction, strict=True):
            view.sub_(change, alpha=size)
    return {name: value.to(model.storage_dtype(name)).to(live[name].dtype) for name, value in values.items()}


def norm(views: Sequence[Tensor]) -> float:
    """Return the Euclidean norm over the concatenation of several tensors."""
    return float(sum(float((v.double() ** 2).sum()) for v in views)) ** 0.5
