"""What the losses of Tan & Gong's methods see in one step, and what such a method tells its tutor."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from razor_cli.engine.train_settings import Trained

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from razor_cli.contract.family import Named


class RetainSignal(StrEnum):
    """What says what must stay."""

    AUTO = "auto"  # coarse with a taxonomy, else retain_set
    COARSE = "coarse"  # parents of the forget pictures (the paper: there is no retain set)
    RETAIN_SET = "retain_set"  # retain pictures and their own prompts


@dataclass(frozen=True, kw_only=True)
class Level:
    """Logits [n, C] of some pictures over one list of names, their labels [n], and, if anchored, the same
    logits at theta_0.
    """

    logits: Tensor
    labels: Tensor
    frozen: Tensor | None = None

    @property
    def reference(self) -> Tensor:
        """Return the frozen logits."""
        if self.frozen is None:
            raise RuntimeError("the method did not say that it looks at the frozen model")
        return self.frozen


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """What the loss of one step sees. `fine`: forget pictures over all class names, of which the first
    `forgotten` go.
    """

    fine: Level
    forgotten: int
    signal: Level | None = None  # coarse names, or retain pictures over their prompts

    @property
    def kept(self) -> Level:
        """Return the retain signal."""
        if self.signal is None:
            raise RuntimeError("the method did not say that it needs the retain signal")
        return self.signal


@dataclass(frozen=True, kw_only=True)
class Taught(Trained):
    """Settings that a tutor reads, and what it asks the method for."""

    uses_signal: ClassVar[bool] = False  # whether the forgetting loss holds a retain term
    uses_reference: ClassVar[bool] = False  # whether the forgetting loss looks at the frozen model
    labels_kept: ClassVar[bool] = False  # training fits the labels, so their accuracy can choose the epoch
    counts_forgetting: ClassVar[bool] = True  # accuracy while training says how much is forgotten

    retain_signal: RetainSignal = RetainSignal.AUTO
    alpha_coarse: float = 0.0
    alpha_fine: float = 0.0

    def assigned(self, labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        """Return the labels [n] that forget pictures of classes `labels` train on: their own, unless a method
        assigns others.
        """
        return labels

    def finish(self, before: Named, trained: Named) -> Named:
        """Return the edited values from the unedited and the trained ones."""
        return trained

    def loss(self, lesson: Lesson, own: Tensor) -> Tensor:
        """Return what a step minimises; `own` [n] are the true classes of the forget pictures."""
        raise NotImplementedError
