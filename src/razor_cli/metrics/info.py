"""What is said of a metric, whichever family measures it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a metric is of: that the target went, that the rest stayed, or neither alone."""

    FORGETTING = "forgetting"
    KEEPING = "keeping"
    NEITHER = "neither"


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """How a metric is printed. `direction` is down, up, zero, chance (50 %) or none."""

    title: str
    unit: str
    direction: str
    role: Role
    explanation: str
