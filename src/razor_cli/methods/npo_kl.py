"""NPO+KL: negative preference optimisation, held by two KL terms (Tan & Gong, arXiv 2506.11253, eq. 7 and
Table 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.dual.choices import NpoReduction
from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.methods.tracing_lesson import Lesson


@dataclass(frozen=True, kw_only=True)
class NpoKl(Tracing):
    """Hyper-parameters of NPO+KL; each knob is explained in conf/method/npo_kl/paper.yaml."""

    uses_reference: ClassVar[bool] = True

    name: str = "npo_kl"  # label in tables and folder of the runs
    beta: float = 0.5
    npo_reduction: NpoReduction = NpoReduction.SAMPLE
    alpha_coarse: float = 5.0
    alpha_fine: float = 20.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"beta": (1e-6, 1e6)})

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return -(2/beta) log sigmoid(beta (CE^f_now - CE^f_ref))."""
        from razor_cli.dual.losses_tracing import npo

        fine = lesson.fine
        return npo(fine.logits, fine.reference, fine.labels, beta=self.beta, reduction=self.npo_reduction)
