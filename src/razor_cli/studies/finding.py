"""What a measurement says of a claim of the RAZOR paper: a row for each number, and the claim's outcome.

The reference quotes only the formula of Proposition 4; what the others claim is taken as follows, and each
finding says it. P1 minimality: without the change of any one component of K the finished edit misses its
Target. P2 forgetting: the similarity of forget pairs ends below where it began, and below that of retain
pairs. P3 retention: a step along the blended direction raises the retain loss by at most rho times what it
adds to the forget loss. P4 scale law: phi grows with |g_f|^p, falls with |theta|^p, and does not depend on
|g_r|.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from torch import Tensor

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "HOLDS"
    FAILS = "DOES NOT HOLD"
    OPEN = "UNDECIDED"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number, and for a claim as a whole its outcome. `at`: the component, rho or set that the number
    belongs to.
    """

    proposition: str  # P1 to P4
    claim: str
    quantity: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 1
    unit: str = ""
    at: str = ""
    outcome: Outcome | None = None  # of the whole claim; None: a number behind it
    note: str = ""


def variance(values: Tensor) -> float:
    """Return the variance of values [n], 0 of a single one."""
    return float(values.double().var()) if len(values) > 1 else 0.0


def mean_interval(values: Tensor) -> tuple[float, float]:
    """Return the 95 % normal interval of the mean of values [n]."""
    mean, half = float(values.double().mean()), Z * math.sqrt(variance(values) / len(values))
    return mean - half, mean + half


def below_zero(low: float, high: float) -> Outcome:
    """Return whether a number that should be negative is, by its interval."""
    return Outcome.HOLDS if high < 0 else Outcome.FAILS if low >= 0 else Outcome.OPEN
