"""ME+GD: maximise the entropy over fine labels, descend on what stays (Tan & Gong, arXiv 2506.11253, Table
9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.methods.tracing_lesson import Lesson


@dataclass(frozen=True, kw_only=True)
class MeGd(Tracing):
    """Hyper-parameters of ME+GD; each knob is explained in conf/method/me_gd/paper.yaml."""

    uses_signal: ClassVar[bool] = True

    name: str = "me_gd"  # label in tables and folder of the runs

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return KL(U || p^f) + CE^c."""
        from razor_cli.dual.losses_tracing import cross_entropy, uniform_kl

        return uniform_kl(lesson.fine.logits) + cross_entropy(lesson.kept.logits, lesson.kept.labels)
