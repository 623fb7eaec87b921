"""What Tan & Gong's methods share: logits on two levels, the frozen reference, the retain signal (arXiv
2506.11253, 4.1).

A method's own file holds its hyper-parameters and its forgetting loss. The regularisers, alpha_coarse KL_c +
alpha_fine KL_f, can be added to each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.dual.choices import FineMask, KlReduction
from razor_cli.methods.tracing_lesson import Lesson, Taught

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Tracing(Taught):
    """Hyper-parameters of all of Tan & Gong's methods; each knob is explained in the presets.

    Raises ConfigError for a value out of range, with its full key.
    """

    kl_reduction: KlReduction = KlReduction.NUMEL
    kl_fine_mask: FineMask = FineMask.OWN_LABEL

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"alpha_coarse": (0, math.inf), "alpha_fine": (0, math.inf)})

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return the method's own loss, to be minimised."""
        raise NotImplementedError

    def loss(self, lesson: Lesson, own: Tensor) -> Tensor:
        """Return the forgetting loss and the regularisers (eq. 5); `own` [n] are the true classes of the
        forget pictures.
        """
        from razor_cli.dual.losses_tracing import fine_kl, reference_kl

        total = self.forgetting(lesson)
        if self.alpha_coarse:
            total = total + self.alpha_coarse * reference_kl(
                lesson.kept.logits, lesson.kept.reference, self.kl_reduction
            )
        if self.alpha_fine:
            fine = fine_kl(
                lesson.fine.logits,
                lesson.fine.reference,
                own,
                forgotten=lesson.forgotten,
                mask=self.kl_fine_mask,
                reduction=self.kl_reduction,
            )
            total = total + self.alpha_fine * fine
        return total

    def edit(self, lab: Lab) -> Edit:
        """Train on the loss and return the edit of the epoch that `keep` names; without forget pictures
        nothing changes.
        """
        from razor_cli.engine.train import train
        from razor_cli.methods.tracing_tutor import Tutor

        with lab.timed():
            return train(lab, self, Tutor(self, lab))
