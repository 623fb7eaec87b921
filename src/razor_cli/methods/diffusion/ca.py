"""CA (concept ablation, Kumari et al. 2023): the target's prompt learns to mean what an anchor's means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.ca_settings import CaSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Ca(CaSettings):
    """CA with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """Train the group to say under the target's prompt what the model says under the anchor's."""
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.ca_ablation import Ablation

        with lab.timed():
            return train(lab, self, Ablation(lab, self))
