"""NHL+KL: a negative hinge on the fine label, held by two KL terms (Tan & Gong's own, arXiv 2506.11253, Table
9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.methods.tracing_lesson import Lesson


@dataclass(frozen=True, kw_only=True)
class NhlKl(Tracing):
    """Hyper-parameters of NHL+KL; each knob is explained in conf/method/nhl_kl/paper.yaml."""

    name: str = "nhl_kl"  # label in tables and folder of the runs
    margin: float = 2.0
    alpha_coarse: float = 10.0
    alpha_fine: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"margin": (0, 1e6)})

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return the mean of max(0, margin + own logit - best other logit)."""
        from razor_cli.dual.losses_tracing import negative_hinge

        return negative_hinge(lesson.fine.logits, lesson.fine.labels, self.margin)
