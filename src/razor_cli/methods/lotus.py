"""LoTUS: smooth the predictions on forget pictures towards uncertainty (CVPR 2025; reference code
cspartalis/LoTUS).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train_settings import Training

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from razor_cli.contract.edit import Edit
    from razor_cli.dual.desk import Desk
    from razor_cli.dual.samples import Samples
    from razor_cli.engine.lab import Lab


STOP_BELOW = -0.01  # accuracy on forget pictures this far below its reference ends the training
MAX_EXPONENT = 80.0  # exp beyond it leaves fp32; targets are uniform long before


class Prob(StrEnum):
    """How the teacher's logits become targets: a Gumbel-softmax sample, or the softmax itself."""

    GUMBEL = "gumbel"
    SOFTMAX = "softmax"


class Reference(StrEnum):
    """A_ref, the accuracy that forget pictures should come down to."""

    CLASS = "class"  # 0: the whole class goes
    VALIDATION = "validation"  # the teacher's on pictures it has not seen


@dataclass(frozen=True, kw_only=True)
class Lotus(Training):
    """Hyper-parameters of LoTUS; each knob is explained in conf/method/lotus.yaml."""

    name: str = "lotus"  # label in tables and folder of the runs
    alpha: float = 2.0
    a_ref: Reference = Reference.CLASS
    prob: Prob = Prob.GUMBEL
    retain_share: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_ranges({"alpha": (0, math.inf), "retain_share": (0, 1)})

    def edit(self, lab: Lab) -> Edit:
        """Train towards smoothed targets on forget pictures and sampled one-hot targets on retain
        pictures.
        """
        from razor_cli.dual.desk import Desk
        from razor_cli.engine.train import train

        with lab.timed():
            return train(lab, self, Smoothing(Desk(lab, self), self))


def temperature(alpha: float, accuracy: float, reference: float) -> float:
    """Return T = exp(alpha * (Acc(student, D_f) - A_ref)), accuracies in [0, 1] rounded to two decimals
    first.
    """
    return math.exp(min(MAX_EXPONENT, alpha * (round(accuracy, 2) - round(reference, 2))))


def targets(
    teacher: Tensor, temperature: float, hard: bool, prob: Prob, generator: torch.Generator
) -> Tensor:
    """Return target distributions [n, k] from teacher logits [n, k], divided by T here only; hard ones are
    one-hot.
    """
    import torch
    import torch.nn.functional as F

    noise = torch.zeros_like(teacher)
    if prob is Prob.GUMBEL:
        uniform = torch.rand(teacher.shape, generator=generator).clamp(1e-20, 1 - 1e-7)
        noise = -(-uniform.log()).log().to(teacher)
    soft = ((teacher + noise) / temperature).softmax(dim=-1)
    return F.one_hot(soft.argmax(dim=-1), soft.shape[-1]).to(soft) if hard else soft


class Smoothing(Objective):
    """Batches mix forget pictures with a share of the retain pictures, drawn once; the teacher is the
    unedited model.
    """

    def __init__(self, desk: Desk, method: Lotus) -> None:
        import torch

        self.desk, self.method = desk, method
        count = int(method.retain_share * len(desk.retain))  # cut off, as the published code does
        drawn = torch.randperm(len(desk.retain), generator=desk.lab.generator())[:count]
        self.retained = drawn.sort().values
        self.accuracy = self.reference = self.smoothing = 0.0
        if not len(desk.forget):
            return
        with torch.no_grad():
            self.teacher = desk.classes.logits(desk.forget.embedded())
        self.images, self.texts = desk.joint.taught() if len(drawn) else (torch.zeros(0), torch.zeros(0))
        if method.a_ref is Reference.VALIDATION:
            self.reference = self._unseen()

    def _unseen(self) -> float:
        """Return the teacher's accuracy on validation pictures of the classes."""
        import torch

        from razor_cli.dual.samples import Samples

        judged = self.desk.sets.validation
        parts = [Samples(self.desk, p) for p in (judged.forget, judged.retain)]
        with torch.no_grad():
            hits = [_right(self.desk.classes.logits(s.embedded()), s) for s in parts if len(s)]
        return float(torch.cat(hits).float().mean())

    def stop(self, number: int) -> bool:
        """Measure the student on forget pictures, and end once it is below the reference."""
        import torch

        if not len(self.desk.forget):
            return False
        with torch.no_grad():
            self.accuracy = _hits(self.desk.classes.logits(self.desk.forget.embedded()), self.desk.forget)
        return round(round(self.accuracy, 2) - round(self.reference, 2), 2) <= STOP_BELOW

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return steps over forget and retain pictures in one drawn order, at this epoch's temperature."""
        import torch

        n = len(self.desk.forget)
        if not n:
            return []
        self.smoothing = temperature(self.method.alpha, self.accuracy, self.reference)
        order = torch.randperm(n + len(self.retained), generator=generator)
        return [self._step(part, generator) for part in order.split(self.method.batch)]

    def _step(self, numbers: Tensor, generator: torch.Generator) -> Step:
        import torch

        from razor_cli.dual.losses import soft_cross_entropy

        n = len(self.desk.forget)
        forget, retain = numbers[numbers < n], self.retained[numbers[numbers >= n] - n]

        def loss() -> Tensor:
            parts = []
            if len(forget):
                wanted = targets(self.teacher[forget], self.smoothing, False, self.method.prob, generator)
                logits = self.desk.classes.logits(self.desk.encode_image(self.desk.forget.pixels(forget)))
                parts.append(soft_cross_entropy(logits, wanted.to(logits)))
            if len(retain):
                parts.append(self._retain_loss(retain, generator))
            return torch.cat(parts).mean()

        return Step(loss=loss, pictures=len(numbers))

    def _retain_loss(self, index: Tensor, generator: torch.Generator) -> Tensor:
        from razor_cli.dual.losses import soft_cross_entropy

        images = self.desk.encode_image(self.desk.retain.pixels(index))
        logits, _ = self.desk.joint.logits(images, index)
        taught = self.images[index] @ self.texts[self.desk.joint.columns(index)].T
        wanted = targets(taught, 1.0, True, self.method.prob, generator)
        return soft_cross_entropy(logits, wanted.to(logits))

    def measured(self, number: int) -> dict[str, float]:
        """Return the temperature of the epoch."""
        return {"temperature": self.smoothing}


def _right(logits: Tensor, samples: Samples) -> Tensor:
    known = samples.labels >= 0
    return logits.argmax(dim=-1).cpu()[known] == samples.labels[known]


def _hits(logits: Tensor, samples: Samples) -> float:
    return float(_right(logits, samples).float().mean())
