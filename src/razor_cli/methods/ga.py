"""GA: gradient ascent on the forget loss (baseline of SLUG's published code; with cross-entropy, of Tan &
Gong).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.desk import Desk, Drawn
from razor_cli.dual.losses import assigned_cross_entropy, forget_cosine, info_nce
from razor_cli.engine.lab import Lab
from razor_cli.engine.train import Objective, Step, Training, train
from razor_cli.families.clip.family import Clip


class Ascended(StrEnum):
    """Which loss of the forget pairs is raised."""

    COSINE = "cosine"
    INFONCE = "infonce"
    CLASSIFIER_CE = "classifier_ce"


@dataclass(frozen=True, kw_only=True)
class Ga(Training):
    """Hyper-parameters of GA; each knob is explained in conf/method/ga.yaml. It never looks at retain
    pictures.
    """

    name: str = "ga"  # label in tables and folder of the runs
    loss: Ascended = Ascended.COSINE

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Maximise the forget loss, one pass over D_f an epoch."""
        with lab.timed():
            return train(model, sets, lab, self, Ascent(Desk(model, sets, lab, self), self.batch, self.loss))


class Ascent(Objective):
    """One pass over the forget pairs."""

    def __init__(self, desk: Desk, batch: int, loss: Ascended) -> None:
        self.desk, self.batch, self.loss = desk, batch, loss

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the forget steps in a drawn order."""
        return forget_steps(self.desk, self.batch, self.loss, generator)


def forget_steps(desk: Desk, batch: int, kind: Ascended, generator: torch.Generator) -> list[Step]:
    """Return steps that minimise minus the forget loss, so that they ascend it."""
    loss = forget_loss(desk, kind)
    return [
        Step(loss=lambda index=index: -loss(desk.forget.take(index)), pictures=len(index))  # type: ignore[misc]
        for index in desk.forget.shuffled(batch, generator)
    ]


def forget_loss(desk: Desk, kind: Ascended) -> Callable[[Drawn], Tensor]:
    """Return +L_f of a forget batch: 1 - cosine, symmetric InfoNCE, or cross-entropy of the zero-shot head on
    true labels.
    """

    def loss(drawn: Drawn) -> Tensor:
        if kind is Ascended.CLASSIFIER_CE:
            return assigned_cross_entropy(desk.classes.logits(desk.encode_image(drawn.pixels)), drawn.labels)
        images, texts = desk.pairs(drawn)
        return (
            forget_cosine(images, texts) if kind is Ascended.COSINE else info_nce(images, texts, desk.scale)
        )

    return loss
