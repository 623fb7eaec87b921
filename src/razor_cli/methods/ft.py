"""FT: fine-tune on what must stay, and forget by not rehearsing (baseline of SLUG's published code)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.desk import Desk, Drawn
from razor_cli.dual.losses import info_nce
from razor_cli.engine.lab import Lab
from razor_cli.engine.train import Objective, Step, train
from razor_cli.engine.train_settings import Trained
from razor_cli.families.clip.family import Clip


@dataclass(frozen=True, kw_only=True)
class Ft(Trained):
    """Hyper-parameters of FT; each knob is explained in conf/method/ft.yaml. It never looks at forget
    pictures.
    """

    name: str = "ft"  # label in tables and folder of the runs

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Minimise the symmetric InfoNCE of retain pairs, one pass over D_r an epoch."""
        with lab.timed():
            return train(model, sets, lab, self, Rehearsal(Desk(model, sets, lab, self), self))


class Rehearsal(Objective):
    """One pass over the retain pairs."""

    def __init__(self, desk: Desk, method: Trained) -> None:
        self.desk, self.method = desk, method

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the retain steps in a drawn order."""
        return retain_steps(self.desk, self.method, generator)


def retain_steps(desk: Desk, method: Trained, generator: torch.Generator) -> list[Step]:
    """Return steps down L_r, the symmetric InfoNCE of retain pairs in batches (RAZOR eq. 4)."""

    def loss(drawn: Drawn) -> Tensor:
        images, texts = desk.pairs(drawn)
        return info_nce(images, texts, desk.scale)

    return [
        Step(loss=lambda index=index: loss(desk.retain.take(index)), pictures=len(index))  # type: ignore[misc]
        for index in desk.retain.shuffled(method.batch, generator, method.retain_sample)
    ]
