"""GAFT: ascent on the forget pairs, then fine-tuning on the retain pairs, every epoch (baseline of SLUG's
published code).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.dual.choices import Ascended
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train_settings import Trained

if TYPE_CHECKING:
    import torch

    from razor_cli.contract.edit import Edit
    from razor_cli.dual.desk import Desk
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Gaft(Trained):
    """Hyper-parameters of GAFT; each knob is explained in conf/method/gaft.yaml."""

    name: str = "gaft"  # label in tables and folder of the runs
    loss: Ascended = Ascended.COSINE

    def edit(self, lab: Lab) -> Edit:
        """Go through D_f as GA does, then through D_r as FT does, every epoch."""
        from razor_cli.dual.desk import Desk
        from razor_cli.engine.train import train

        with lab.timed():
            return train(lab, self, ThereAndBack(Desk(lab, self), self))


class ThereAndBack(Objective):
    """A pass over the forget pairs, then one over the retain pairs."""

    def __init__(self, desk: Desk, method: Gaft) -> None:
        self.desk, self.method = desk, method

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return forget steps, then retain steps."""
        from razor_cli.dual.steps import forget_steps, retain_steps

        forget = forget_steps(self.desk, self.method.batch, self.method.loss, generator)
        return [*forget, *retain_steps(self.desk, self.method, generator)]
