"""GA+KL: gradient ascent on the fine label, held by two KL terms (Tan & Gong, arXiv 2506.11253, eq. 5 and
Table 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.methods.tracing_lesson import Lesson


@dataclass(frozen=True, kw_only=True)
class GaKl(Tracing):
    """Hyper-parameters of GA+KL; with both weights 0 it is GA. Each knob is explained in
    conf/method/ga_kl/paper.yaml.
    """

    name: str = "ga_kl"  # label in tables and folder of the runs
    alpha_coarse: float = 5.0
    alpha_fine: float = 20.0

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return -CE^f."""
        from razor_cli.dual.losses_tracing import cross_entropy

        return -cross_entropy(lesson.fine.logits, lesson.fine.labels)
