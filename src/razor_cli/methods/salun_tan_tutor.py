"""The steps of Relabel under SalUn's mask."""

from __future__ import annotations

import torch
from torch import Tensor

from razor_cli.contract.family import Named
from razor_cli.dual.losses_tracing import cross_entropy
from razor_cli.dual.mask import Mask, saliency_mask
from razor_cli.dual.samples import Drawn
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import trained_names
from razor_cli.methods.tracing_lesson import Taught
from razor_cli.methods.tracing_tutor import Tutor


class MaskedTutor(Tutor):
    """The steps of Relabel; weights outside the mask are put back after each."""

    def __init__(self, method: Taught, lab: Lab, fraction: float) -> None:
        super().__init__(method, lab)
        names = (
            trained_names(lab.family, method) if len(lab.sets.forget) and method.lr and method.epochs else []
        )
        self.mask = Mask(saliency_mask(self.desk, names, method.batch, self._true, fraction))

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
