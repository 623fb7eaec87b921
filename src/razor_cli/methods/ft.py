"""FT: fine-tune on what must stay, and forget by not rehearsing (baseline of SLUG's published code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train_settings import Trained

if TYPE_CHECKING:
    import torch

    from razor_cli.contract.edit import Edit
    from razor_cli.dual.desk import Desk
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Ft(Trained):
    """Hyper-parameters of FT; each knob is explained in conf/method/ft.yaml. It never looks at forget
    pictures.
    """

    name: str = "ft"  # label in tables and folder of the runs

    def edit(self, lab: Lab) -> Edit:
        """Minimise the symmetric InfoNCE of retain pairs, one pass over D_r an epoch."""
        from razor_cli.dual.desk import Desk
        from razor_cli.engine.train import train

        with lab.timed():
            return train(lab, self, Rehearsal(Desk(lab, self), self))


class Rehearsal(Objective):
    """One pass over the retain pairs."""

    def __init__(self, desk: Desk, method: Trained) -> None:
        self.desk, self.method = desk, method

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the retain steps in a drawn order."""
        from razor_cli.dual.steps import retain_steps

        return retain_steps(self.desk, self.method, generator)
