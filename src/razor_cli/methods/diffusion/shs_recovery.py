"""Scissorhands' second part: the trimmed net learns again what stays, and that forget pictures are something
else.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from torch import Tensor

from razor_cli.contract.components import swapped
from razor_cli.engine.objective import Objective, Step
from razor_cli.methods.diffusion.choices import Forgetting
from razor_cli.methods.diffusion.shs_trim import projected, reinit_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from razor_cli.contract.family import Named
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.relearning import Lessons
    from razor_cli.methods.diffusion.shs_settings import ShsSettings
    from razor_cli.methods.diffusion.shs_trim import Trimmed

EPS = 1e-3  # of the projection's quadratic programme


class Recovery(Objective):
    """Steps on retain and forget pictures together, beginning from the trimmed weights."""

    def __init__(self, lessons: Lessons, method: ShsSettings, trimmed: Trimmed) -> None:
        self.lessons, self.method, self.trimmed = lessons, method, trimmed
        self.memory: Named = {} if method.project_every is None else self._memory()
        self.step = 0

    def _memory(self) -> Named:
        """Return the gradient of minus the denoising loss of forget pictures in the trimmed net, for what was
        drawn anew.
        """
        family = cast("Diffusion", self.lessons.lab.family)
        names = reinit_names(family, self.method.reinit_group)
        with swapped(family, self.trimmed.values):
            found = self.lessons.summed_gradient(names, self.method.trim_pictures, 0.0)
        seen = self.method.trim_pictures or len(self.lessons.forget)
        return {n: -g / min(seen, len(self.lessons.forget)) for n, g in found.items()}

    def begin(self, params: Named) -> None:
        """Put the trimmed weights in place."""
        for name, value in self.trimmed.values.items():
            params[name].copy_(value)

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of an epoch; each draws noise from the epoch's generator when it is due."""
        batches = self.lessons.batches(generator)
        self.step = (number - 1) * len(batches)
        relabelled = self.method.forget is Forgetting.RELABEL
        return [
            Step(
                loss=partial(self.loss, forget, retain, generator),
                pictures=2 * len(forget),
                forwards=len(forget) if relabelled else 0,
            )
            for forget, retain in batches
        ]

    def loss(self, forget: Tensor, retain: Tensor, generator: torch.Generator) -> Tensor:
        """Return the loss of retain pictures, and alpha times that of relabelled forget pictures, or less
        alpha times their denoising loss.
        """
        kept, lessons = self.lessons.kept(retain, generator), self.lessons
        if self.method.forget is Forgetting.RELABEL:
            return kept + self.method.alpha * lessons.relabelled(forget, retain, generator)
        return kept - self.method.alpha * lessons.shown(forget, generator)

    def before_step(self, params: Named) -> None:
        """Turn the gradient where it goes against forgetting, in every so many steps."""
        every, number = self.method.project_every, self.step
        self.step += 1
        if every is None or number % every:
            return
        found = {n: g for n in self.memory if (g := params[n].grad) is not None}
        turned = projected(found, {n: self.memory[n] for n in found}, self.method.margin, EPS)
        for name, gradient in turned.items():
            params[name].grad = gradient
