"""The two phases of EraseDiff. The inner one relabels forget pictures, notes how low that loss came and gives
the weights back; the outer one takes steps on retain pictures and on what is left of it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from razor_cli.engine.objective import Objective, Step
from razor_cli.methods.diffusion.choices import Restored, Weighing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from razor_cli.contract.family import Named
    from razor_cli.methods.diffusion.ediff_settings import EdiffSettings
    from razor_cli.methods.diffusion.relearning import Lessons


class Phases(Objective):
    """In each epoch `rounds` times an inner pass and an outer pass over the same number of pictures; both use
    one optimiser and its memory.
    """

    def __init__(self, lessons: Lessons, method: EdiffSettings) -> None:
        self.lessons, self.method = lessons, method
        live = dict(lessons.lab.family.module.named_parameters())
        self.live = {n: live[n] for n in method.trained(lessons.lab.family)}
        self.held: Named = {}
        self.hold = False  # whether the weights before this step are those to give back
        self.seen: list[float] = []  # losses of the inner phase
        self.last = False  # whether this step ends an inner phase

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of an epoch; each draws noise from the epoch's generator when it is due."""
        steps = []
        for turn in range(self.method.rounds):
            inner, outer = self.lessons.batches(generator), self.lessons.batches(generator)
            hold = turn == 0 or self.method.restore is Restored.PER_INNER
            for i, (forget, retain) in enumerate(inner):
                place = (i == 0, i == 0 and hold, i == len(inner) - 1)
                loss = partial(self._inner, forget, retain, generator, place)
                steps.append(Step(loss=loss, pictures=len(forget), forwards=len(forget)))
            for forget, retain in outer:
                loss = partial(self._outer, forget, retain, generator)
                steps.append(Step(loss=loss, pictures=2 * len(forget), forwards=len(forget)))
        return steps

    def _inner(
        self, forget: Tensor, retain: Tensor, generator: torch.Generator, place: tuple[bool, bool, bool]
    ) -> Tensor:
        """Return the loss of relabelled forget pictures, and note it. `place`: is the step the first of its
        phase, are the weights before it those to give back, is it the last?
        """
        first, self.hold, self.last = place
        if first:
            self.seen = []
        loss = self.lessons.relabelled(forget, retain, generator)
        self.seen.append(float(loss.detach()))
        return loss

    def _outer(self, forget: Tensor, retain: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of retain pictures, and what is left of the target's by its weight."""
        self.hold = self.last = False
        kept = self.lessons.kept(retain, generator)
        left = self.lessons.relabelled(forget, retain, generator) - sum(self.seen) / len(self.seen)
        return kept + self._weight(kept, left) * left

    def _weight(self, kept: Tensor, left: Tensor) -> float:
        """Return alpha; or eta less the cosine of both gradients, at least 0, and 0 where one is nothing."""
        if self.method.weighing is Weighing.FIXED:
            return self.method.alpha
        wanted, other = (self._gradient(loss) for loss in (kept, left))
        return conflict(wanted, other, self.method.eta)

    def _gradient(self, loss: Tensor) -> list[Tensor]:
        params = list(self.live.values())
        found = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(p) if g is None else g for p, g in zip(params, found, strict=True)]

    def before_step(self, params: Named) -> None:
        """Hold the weights where an inner phase begins."""
        if self.hold:
            self.held = {n: p.detach().clone() for n, p in params.items()}

    def after_step(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Give the weights back where an inner phase ends."""
        if self.last:
            for name, parameter in params.items():
                parameter.copy_(self.held[name])


def conflict(kept: Sequence[Tensor], left: Sequence[Tensor], eta: float) -> float:
    """Return max(eta - cos(g_kept, g_left), 0), and 0 where there is nothing left to forget."""
    dot = sum(float((a * b).sum(dtype=torch.float64)) for a, b in zip(kept, left, strict=True))
    sizes = [sum(float(g.square().sum(dtype=torch.float64)) for g in part) ** 0.5 for part in (kept, left)]
    if not sizes[1]:
        return 0.0
    return max(eta - (dot / (sizes[0] * sizes[1]) if sizes[0] else 0.0), 0.0)
