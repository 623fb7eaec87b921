"""EraseDiff: forgetting as a constraint of keeping (Wu et al. 2024; reference code JingWu321/EraseDiff, and
UnlearnCanvas's copy of it, where it is called EDiff). Imports no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from razor_cli.methods.diffusion.choices import Restored, Weighing
from razor_cli.methods.diffusion.relearn_settings import Relearned


@dataclass(frozen=True, kw_only=True)
class EdiffSettings(Relearned):
    """Hyper-parameters of EraseDiff; each knob is explained in conf/method/ediff.yaml."""

    name: str = "ediff"  # label in tables and folder of the runs
    rounds: int = 2  # K
    restore: Restored = Restored.PER_INNER
    weighing: Weighing = Weighing.FIXED
    eta: float = 0.1  # of weighing=adaptive

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"rounds": (1, 1000), "eta": (0, 1000)})
