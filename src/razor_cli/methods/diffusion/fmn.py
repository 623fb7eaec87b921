"""FMN (Forget-Me-Not, Zhang et al. 2023): the picture is trained not to look at the target's words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.fmn_settings import FmnSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Fmn(FmnSettings):
    """FMN with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """Learn tokens of the target, and train the group to give them no attention."""
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.fmn_steering import Steering

        with lab.timed():
            return train(lab, self, Steering(lab, self))
