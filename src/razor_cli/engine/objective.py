"""What a trained method gives to the training loop: the steps of each epoch, and hooks around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from razor_cli.contract.family import Named


@dataclass(frozen=True, kw_only=True)
class Step:
    """One optimiser step: what to minimise, and how many pictures that sends through the model.

    `loss` is called when the step is due, with the weights as they are then; it encodes through `Desk`, which
    autocasts.
    """

    loss: Callable[[], Tensor]
    pictures: int  # sent forward and backward
    forwards: int = 0  # sent forward only, beyond those


class Objective:
    """What a trained method gives to the loop. Only `epoch` has to be written; the other hooks do nothing
    here.

    An objective is built before training starts, at the unedited weights, from the run's seed alone, so that
    a resumed run builds the same one again; what it counts during an epoch must start anew in `epoch`.
    """

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of epoch `number` (from 1), as many in every epoch; no steps: there is nothing to
        learn from.
        """
        raise NotImplementedError

    def begin(self, params: Named) -> None:
        """Change the weights before the first step; not called where a training goes on."""

    def stop(self, number: int) -> bool:
        """Tell, with the weights as they are, whether to end before epoch `number`."""
        return False

    def before_step(self, params: Named) -> None:
        """Change the gradients of the trained parameters before they are used (masks)."""

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Change trained parameters and the optimiser's memory after a step (masks)."""

    def finish(self, before: Named, trained: Named) -> Named:
        """Return the edited values from the unedited and the trained ones (task vectors); both must be left
        as they are.
        """
        return trained

    def measured(self, number: int) -> dict[str, float]:
        """Return what was measured while training epoch `number`, in %: forget_accuracy, label_accuracy, or
        others.
        """
        return {}
