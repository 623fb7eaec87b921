"""EraseDiff: forgetting as a constraint of keeping, in two phases by turns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.ediff_settings import EdiffSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Ediff(EdiffSettings):
    """EraseDiff with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """See how far the target can be relabelled, then keep what stays while coming near that."""
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.ediff_phases import Phases
        from razor_cli.methods.diffusion.relearning import Lessons

        with lab.timed():
            return train(lab, self, Phases(Lessons(lab, self), self))
