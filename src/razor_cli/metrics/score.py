"""One measured number with everything needed to read it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Score:
    """A metric's value with its 95 % interval, or the reason why there is none.

    `variant` says which reading of the paper it is (`dual/generic`, `retain_sq_drift/x100`); `direction` is
    down, up, zero, chance or none. `value` is None only together with a `reason`.
    """

    metric: str
    variant: str
    value: float | None
    n: int
    ci_low: float | None
    ci_high: float | None
    unit: str
    direction: str
    reason: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"{self.metric}/{self.variant}: a missing value needs a reason")
