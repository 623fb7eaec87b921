"""What a method is: settings with one verb."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from razor_cli.contract.family import RETAIN
from razor_cli.contract.strata import Adaptive

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit


@dataclass(frozen=True, kw_only=True)
class GradientPlan:
    """Which gradients a method wants."""

    forget_loss: str = "cosine"  # a name that the family has a loss for
    retain_loss: str = RETAIN  # likewise
    forget_batch: int = 128
    retain_batch: int | None = 128  # None: all examples in one batch
    retain_seed: int | None = None  # retain examples as a training draws them with that seed; None: as listed
    forget_caption: str | None = None  # caption that replaces every forget example's own; None: their own
    retain_caption: str | None = None  # caption that replaces every retain example's own; None: their own
    chunk: int = 128  # examples in memory at once; a larger batch is exact through gradient caching
    adaptive: Adaptive | None = None  # None: every example is seen


class Method(Protocol):
    """A frozen dataclass of hyper-parameters with one verb."""

    needs: ClassVar[frozenset[str]]  # what a family must offer: BOARD, DUAL …

    @property
    def name(self) -> str:
        """Label in tables, and folder of the runs: the name of the preset."""
        ...

    @property
    def stochastic(self) -> bool:
        """Tell whether another seed gives another edit."""
        ...

    def edit(self, lab: Any) -> Edit:
        """Return the edit; the model's weights are the same afterwards, bit for bit.

        `lab` (engine.lab.Lab) holds family and sets, and hands out gradients, scoreboard and seed.
        """
        ...
