"""ESD's steps: draw part of the way to a picture of the target, and learn what the unedited net says there
when it is guided away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.engine.objective import Objective, Step
from razor_cli.methods.diffusion.choices import SampledBy
from razor_cli.methods.diffusion.in_training import InTraining
from razor_cli.methods.diffusion.partly_drawn import PartlyDrawn
from razor_cli.methods.diffusion.wording import texts_of

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.context import Context
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.methods.diffusion.esd_settings import EsdSettings


def guided_away(empty: Tensor, named: Tensor, start: Tensor, eta: float) -> Tensor:
    """Return what should be learnt: e(start) - eta (e(named) - e(empty)); `start` is the empty prompt's, or
    that of the prompt an attribute is erased from. The weights sum to 1, so it holds for noise, velocity and
    flow alike.
    """
    return start - eta * (named - empty)


class Erasure(Objective):
    """One optimiser step for each partly drawn picture of the target, or batch of them."""

    def __init__(self, lab: Lab, method: EsdSettings) -> None:
        self.lab, self.method = lab, method
        self.denoiser = cast("Diffusion", lab.family).denoiser
        self.weights = InTraining(lab.family, method.trained(lab.family))
        texts = texts_of("prompts", method.prompts, lab.sets)
        with torch.no_grad():
            self.named = self.denoiser.encode(texts)
            self.empty = self.denoiser.encode([""])
            start = None if method.erase_from is None else self.denoiser.encode([method.erase_from])
        self.start = start
        self.drawing = PartlyDrawn(self.denoiser, method)

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        """Return the steps of an epoch; each draws from the epoch's generator when it is due."""
        method = self.method
        # on average half the sampler's steps, each with and without the prompt
        passes = method.batch * (method.sampler_steps + (2 if self.start is None else 3))
        return [
            Step(loss=lambda: self.loss(generator), pictures=method.batch, forwards=passes)
            for _ in range(method.steps)
        ]

    def loss(self, generator: torch.Generator) -> Tensor:
        """Return the mean squared distance of the net in training from what it should learn."""
        method = self.method
        picked = torch.randint(len(self.named), (method.batch,), generator=generator)
        named, empty = self.named.rows(picked), self.empty.expand(method.batch)
        start = None if self.start is None else self.start.expand(method.batch)
        with torch.no_grad():
            with self.weights.unedited(method.sample_with is SampledBy.TEACHER):
                latents, at = self.drawing.drawn(named if start is None else start, empty, generator)
            wanted = self.wanted(latents, at, named, start)
        said = self.denoiser.predict(latents, at, named if start is None else start)
        return F.mse_loss(said.float(), wanted.float())

    def wanted(self, latents: Tensor, at: Tensor, named: Context, start: Context | None) -> Tensor:
        """Return what the unedited net says of the latents when it is guided away from the target."""
        empty = self.empty.expand(len(latents))
        with torch.no_grad(), self.weights.unedited():
            nothing = self.denoiser.predict(latents, at, empty)
            target = self.denoiser.predict(latents, at, named)
            begin = nothing if start is None else self.denoiser.predict(latents, at, start)
        return guided_away(nothing, target, begin, self.method.eta)
