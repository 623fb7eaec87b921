"""Pictures drawn on from what is there: completed from a noised state, or in part of the picture only.

Both keep something of a known picture while a model draws. What is kept is put back after each step, with the
noise that this step has left: the known picture at an early step for completion (SDEdit, Meng et al., ICLR
2022: the image-to-image pipelines of diffusers), the part outside of the mask at every step for inpainting
(RePaint, Lugmayr et al., CVPR 2022, without its jumps back: as diffusers inpaints with a plain net).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.kinds import Prediction

Given = dict[str, Any]  # the arguments of a pipeline's call


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is kept of known pictures: all of them for the first steps, and a part to the end."""

    latents: Tensor  # [n, c, h, w]
    strength: float = 1.0  # share of the steps in which more than the part is drawn; 0: nothing is
    part: Tensor | None = None  # [h, w], true where the picture stays to the end

    def rows(self, index: slice) -> Kept:
        """Return what is kept of some pictures."""
        return Kept(latents=self.latents[index], strength=self.strength, part=self.part)


def left_half(latents: Tensor) -> Tensor:
    """Return the mask [h, w] of the left half of pictures, true inside."""
    high, wide = latents.shape[-2:]
    return (torch.arange(wide) < wide // 2).expand(high, wide)


def keeping(denoiser: Denoiser, given: Given, kept: Kept) -> Given:
    """Return the arguments of a pipeline's call with what is kept put back after every step."""
    noise = _noise(denoiser, given, kept)
    clean = kept.latents.to(noise)
    first: Callable[..., Mapping[str, Tensor]] | None = given.get("callback_on_step_end")

    def after(pipeline: Any, number: int, at: Any, held: Mapping[str, Tensor]) -> dict[str, Tensor]:
        times, done = pipeline.scheduler.timesteps, number + 1
        latents = held["latents"]
        if (mask := _mask(kept, done, len(times))) is not None:
            known = clean if done == len(times) else _noised(denoiser, pipeline, clean, noise, times[done])
            latents = torch.where(mask.to(latents.device), known.to(latents.dtype), latents)
        found = {} if first is None else dict(first(pipeline, number, at, {**held, "latents": latents}))
        return {"latents": latents, **found}

    names = [*given.get("callback_on_step_end_tensor_inputs", ["latents"])]
    return {**given, "callback_on_step_end": after, "callback_on_step_end_tensor_inputs": names}


def _mask(kept: Kept, done: int, steps: int) -> Tensor | None:
    """Return what is put back after so many steps [h, w]; None for nothing."""
    if done <= round((1 - kept.strength) * steps):
        return torch.ones(kept.latents.shape[-2:], dtype=torch.bool)
    return kept.part


def _noise(denoiser: Denoiser, given: Given, kept: Kept) -> Tensor:
    """Return the noise that the pipeline begins with, of each picture's own seed."""
    generators = [torch.Generator().manual_seed(g.initial_seed()) for g in given["generator"]]
    rows = [torch.randn(kept.latents.shape[1:], generator=g, dtype=denoiser.dtype) for g in generators]
    return torch.stack(rows).to(denoiser.device)


def _noised(denoiser: Denoiser, pipeline: Any, clean: Tensor, noise: Tensor, at: Tensor) -> Tensor:
    """Return latents with noise as they are at a timestep of the sampler, in the scale it keeps them in."""
    times = at.expand(len(clean))
    if denoiser.prediction is Prediction.FLOW:
        found: Tensor = pipeline.scheduler.scale_noise(clean, times, noise)
    else:
        found = pipeline.scheduler.add_noise(clean, noise, times)
    return found
