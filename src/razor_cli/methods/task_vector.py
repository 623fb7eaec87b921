"""Task vector: fine-tune on the concept, then move the weights the other way (Tan & Gong, arXiv 2506.11253,
Table 9).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.methods.tracing import Tracing

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.family import Named
    from razor_cli.methods.tracing_lesson import Lesson


ANY_ALPHA = 1e6  # bound of |alpha|: beyond it weights leave every storage dtype


@dataclass(frozen=True, kw_only=True)
class TaskVector(Tracing):
    """Hyper-parameters of the task vector; each knob is explained in conf/method/task_vector/paper.yaml."""

    uses_signal: ClassVar[bool] = True
    labels_kept: ClassVar[bool] = True
    counts_forgetting: ClassVar[bool] = (
        False  # the tuned model knows the concept best where the negated one forgets most
    )

    name: str = "task_vector"  # label in tables and folder of the runs
    alpha: float = 1.5
    coarse_weight: float = 0.05

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"alpha": (-ANY_ALPHA, ANY_ALPHA), "coarse_weight": (0, ANY_ALPHA)})

    def forgetting(self, lesson: Lesson) -> Tensor:
        """Return CE^f - coarse_weight CE^c, what the model is tuned on before its change is negated."""
        from razor_cli.dual.losses_tracing import cross_entropy

        kept = cross_entropy(lesson.kept.logits, lesson.kept.labels)
        return cross_entropy(lesson.fine.logits, lesson.fine.labels) - self.coarse_weight * kept

    def finish(self, before: Named, trained: Named) -> Named:
        """Return theta_0 - alpha (theta_tuned - theta_0)."""
        from razor_cli.dual.losses_tracing import negated

        return {name: negated(before[name], tuned, self.alpha) for name, tuned in trained.items()}
