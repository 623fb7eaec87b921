"""Relabel: train forget pictures on labels drawn at random (Tan & Gong, arXiv 2506.11253, eq. 6)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from razor_cli.methods.tracing_lesson import Lesson


@dataclass(frozen=True, kw_only=True)
class Relabel(Tracing):
    """Hyper-parameters of Relabel; each knob is explained in conf/method/relabel/paper.yaml."""

    labels_kept: ClassVar[bool] = True

    name: str = "relabel"  # label in tables and folder of the runs
    exclude_true: bool = True

    def assigned(self, labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        """Draw a label for each picture, once per run."""
        from razor_cli.dual.losses_tracing import random_labels

        return random_labels(labels, classes, exclude_true=self.exclude_true, generator=generator)

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return CE^f of the drawn labels."""
        from razor_cli.dual.losses_tracing import cross_entropy

        return cross_entropy(lesson.fine.logits, lesson.fine.labels)
