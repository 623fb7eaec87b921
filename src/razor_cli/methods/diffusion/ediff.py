"""EraseDiff: forgetting as a constraint of keeping, in two phases by turns (Wu et al. 2024; reference code
JingWu321/EraseDiff, and UnlearnCanvas's copy of it, where it is called EDiff).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.diffusion.choices import Restored, Weighing
from razor_cli.methods.diffusion.relearn_settings import Relearned

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class Ediff(Relearned):
    """Hyper-parameters of EraseDiff; each knob is explained in conf/method/ediff.yaml."""

    name: str = "ediff"  # label in tables and folder of the runs
    rounds: int = 2  # K
    restore: Restored = Restored.PER_INNER
    weighing: Weighing = Weighing.FIXED
    eta: float = 0.1  # of weighing=adaptive

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"rounds": (1, 1000), "eta": (0, 1000)})

    def edit(self, lab: Lab) -> Edit:
        """See how far the target can be relabelled, then keep what stays while coming near that."""
        from razor_cli.engine.train import train
        from razor_cli.methods.diffusion.ediff_phases import Phases
        from razor_cli.methods.diffusion.relearning import Lessons

        with lab.timed():
            return train(lab, self, Phases(Lessons(lab, self), self))
