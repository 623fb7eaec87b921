"""SalUn as Tan & Gong do it: Relabel through the weights that matter most to the forget pictures (arXiv
2506.11253, Table 9).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.desk import Drawn
from razor_cli.dual.gradients import Named
from razor_cli.dual.losses_tracing import cross_entropy
from razor_cli.engine.lab import Lab
from razor_cli.engine.train import train
from razor_cli.engine.train_settings import trained_names
from razor_cli.families.clip.family import Clip
from razor_cli.methods.relabel import Relabel
from razor_cli.methods.salun import Mask, saliency_mask, told
from razor_cli.methods.tracing import Tutor


@dataclass(frozen=True, kw_only=True)
class SalunTan(Relabel):
    """Hyper-parameters of Tan & Gong's SalUn; each knob is explained in conf/method/salun/tan_paper.yaml."""

    name: str = "salun_tan"  # label in tables and folder of the runs
    mask_fraction: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"mask_fraction": (0, 1)})

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Mask all but the most salient weights, then train on the drawn labels."""
        with lab.timed():
            tutor = MaskedTutor(self, model, sets, lab)
            edit = train(model, sets, lab, self, tutor)
        edit.notes.append(told(tutor.mask.masks))
        return edit


class MaskedTutor(Tutor):
    """The steps of Relabel; weights outside the mask are put back after each."""

    def __init__(self, method: SalunTan, model: Clip, sets: ConceptSets, lab: Lab) -> None:
        super().__init__(method, model, sets, lab)
        names = trained_names(model, method) if len(sets.forget) and method.lr and method.epochs else []
        self.mask = Mask(saliency_mask(self.desk, names, method.batch, self._true, method.mask_fraction))

    def _true(self, drawn: Drawn) -> Tensor:
        """Return the cross-entropy of a batch on its true fine labels, over the mean of all templates."""
        logits = self.fine.logits(self.desk.encode_image(drawn.pixels))
        return cross_entropy(logits, self.own[drawn.index].to(logits.device))

    def before_step(self, params: Named) -> None:
        """Mask gradients."""
        self.mask.before(params)

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Put weights outside the mask back."""
        self.mask.after(params, optimizer)
