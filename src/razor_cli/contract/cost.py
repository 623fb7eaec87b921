"""What an edit cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

PEAKS = ("peak_mb", "device_mb")  # largest amounts, which two edits do not add up to


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What an adaptive gradient pass used. The agreement is that of its last look; None: it never looked."""

    used: dict[str, int]  # examples by set
    there: dict[str, int]
    same: bool | None = None  # whether both halves chose the same components
    cosine: float | None = None  # the lowest between the two halves' directions of a component
    looks: int = 0
    stopped_early: bool = False


@dataclass(kw_only=True)
class Cost:
    """What an edit cost. Passes count pictures: `forwards` = pictures sent through a tower, `backwards`
    likewise.
    """

    seconds: float = 0.0
    gradient_seconds: float = 0.0
    search_seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0
    evaluations: int = 0  # trial models scored on validation data
    drawn: int = 0  # pictures that a search looked at, of a model that draws
    gradient_cache_hits: int = 0
    passes: tuple[Pass, ...] = ()  # those that were adaptive
    peak_mb: float = 0.0  # of the process
    device_mb: float = 0.0  # largest memory allocated on a GPU during the edit; 0 on a CPU

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Cost:
        """Return a cost as it was written down in JSON."""
        return cls(**{**told, "passes": tuple(Pass(**each) for each in told.get("passes", ()))})

    def plus(self, other: Cost) -> Cost:
        """Return what two edits cost together; peaks are those of the larger one."""
        added = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Cost(**added | {name: max(getattr(self, name), getattr(other, name)) for name in PEAKS})
