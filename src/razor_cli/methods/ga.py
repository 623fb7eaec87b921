"""GA: gradient ascent on the forget loss (baseline of SLUG's published code; with cross-entropy, of Tan &
Gong).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.dual.choices import Ascended
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train_settings import Training

if TYPE_CHECKING:
    import torch

    from razor_cli.contract.edit import Edit
    from razor_cli.dual.desk import Desk
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Ga(Training):
    """Hyper-parameters of GA; each knob is explained in conf/method/ga.yaml. It never looks at retain
    pictures.
    """

    name: str = "ga"  # label in tables and folder of the runs
    loss: Ascended = Ascended.COSINE

    def edit(self, lab: Lab) -> Edit:
        """Maximise the forget loss, one pass over D_f an epoch."""
        from razor_cli.dual.desk import Desk
        from razor_cli.engine.train import train

        with lab.timed():
            return train(lab, self, Ascent(Desk(lab, self), self.batch, self.loss))


class Ascent(Objective):
    """One pass over the forget pairs."""

    def __init__(self, desk: Desk, batch: int, loss: Ascended) -> None:
        self.desk, self.batch, self.loss = desk, batch, loss

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the forget steps in a drawn order."""
        from razor_cli.dual.steps import forget_steps

        return forget_steps(self.desk, self.batch, self.loss, generator)
