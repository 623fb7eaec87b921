"""ESD (Erased Stable Diffusion, Gandikota et al. 2023): the net unlearns what a prompt means by being guided
away from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.esd_settings import EsdSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Esd(EsdSettings):
    """ESD with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """Train the group to say of the target what the unedited net says when guided away from it."""
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.esd_erasure import Erasure

        with lab.timed():
            return train(lab, self, Erasure(lab, self))
