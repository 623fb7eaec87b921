"""What an edit cost."""

from __future__ import annotations

from dataclasses import dataclass, fields


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
    peak_mb: float = 0.0

    def plus(self, other: Cost) -> Cost:
        """Return what two edits cost together; the peak is that of the larger one."""
        added = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Cost(**added | {"peak_mb": max(self.peak_mb, other.peak_mb)})
