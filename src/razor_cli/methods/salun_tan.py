"""SalUn as Tan & Gong do it: Relabel through the weights that matter most to the forget pictures (arXiv
2506.11253, Table 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.relabel import Relabel

if TYPE_CHECKING:
    from razor_cli.contract.edit import Edit
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class SalunTan(Relabel):
    """Hyper-parameters of Tan & Gong's SalUn; each knob is explained in conf/method/salun/tan_paper.yaml."""

    name: str = "salun_tan"  # label in tables and folder of the runs
    mask_fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"mask_fraction": (0, 1)})

    def edit(self, lab: Lab) -> Edit:
        """Mask all but the most salient weights, then train on the drawn labels."""
        from razor_cli.dual.mask import told
        from razor_cli.engine.train import train
        from razor_cli.methods.salun_tan_tutor import MaskedTutor

        with lab.timed():
            tutor = MaskedTutor(self, lab, self.mask_fraction)
            edit = train(lab, self, tutor)
        edit.notes.append(told(tutor.mask.masks))
        return edit
