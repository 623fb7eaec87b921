"""SPM (one-dimensional adapter to rule them all; Lyu et al. 2024): low-rank matrices beside the net's layers
learn to lead the target away, and each prompt lets them through as far as it is about the target.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.spm_settings import SpmSettings

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Spm(SpmSettings):
    """SPM with its settings."""

    def edit(self, lab: Lab) -> Edit:
        """Train the adapter; the weights of the model stay as they are."""
        from razor_cli.methods.diffusion.spm_training import trained

        with lab.timed():
            return trained(lab, self)
