"""GDiff: gradient ascent on the fine label, descent on what stays (Tan & Gong, arXiv 2506.11253, Table 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.methods.tracing_lesson import Lesson


@dataclass(frozen=True, kw_only=True)
class GDiff(Tracing):
    """Hyper-parameters of GDiff; each knob is explained in conf/method/gdiff/paper.yaml."""

    uses_signal: ClassVar[bool] = True

    name: str = "gdiff"  # label in tables and folder of the runs

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return -CE^f + CE^c."""
        from razor_cli.dual.losses_tracing import cross_entropy

        return cross_entropy(lesson.kept.logits, lesson.kept.labels) - cross_entropy(
            lesson.fine.logits, lesson.fine.labels
        )
