"""What is said of a metric, whichever family measures it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a metric is of: that the target went, that the rest stayed, or neither alone."""

    FORGETTING = "forgetting"
    KEEPING = "keeping"
    NEITHER = "neither"


# Where a bound on forgetting is kept, and where a search would begin, by a model that never knew the concept.
NOT_RECOGNISED = "the unedited model does not recognise it on these pictures"


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """How a metric is printed. `direction` is down, up, zero, chance (50 %) or none.

    `from_base`: the number is itself a comparison with the unedited model, which shows no forgetting where
    that one has nothing to forget. `shown_by`: the metric whose drop shows that the target went, for one that
    says on neither side which way it moved. `known_by`: the metric whose value at the unedited model says how
    well its judge knows the target, where it is another one.
    """

    title: str
    unit: str
    direction: str
    role: Role
    explanation: str
    from_base: bool = False
    shown_by: str = ""
    known_by: str = ""
