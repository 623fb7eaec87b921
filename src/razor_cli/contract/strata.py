"""A gradient pass that may end before its sets do: when it may, and what a loss must offer for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from razor_cli.contract.family import Named


@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """A pass ends once two disjoint halves of what it has seen agree."""

    agreement: float  # cosine that the directions of both halves must exceed
    floor: int  # examples of each set that are seen in any case
    rule: str = field(default="", compare=False)  # settings that decide what a half says, for caches


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """What two halves of a pass say of the edit that each would begin."""

    same: bool  # both choose the same components
    cosine: float  # the lowest between their directions of a component


# The gradients of each half, a set's behind another's -> how far they agree.
Agree = Callable[[Sequence["Named"], Sequence["Named"]], Agreement]


@dataclass(frozen=True, kw_only=True)
class ListedBatch:
    """One whole batch of a part, the weight of its gradient in that of the part, and the concept of each
    example in it.
    """

    part: Any
    weight: float
    concepts: Sequence[str]


@runtime_checkable
class InBatches(Protocol):
    """A loss whose gradient over a part is the weighted mean of the gradients of batches, each of which can
    be asked for by itself.
    """

    def batches(self, part: Any, size: int) -> Sequence[ListedBatch]:
        """Return the batches of a part in their order, composed as `gradient` composes them."""
        ...
