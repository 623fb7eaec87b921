"""Latents with noise, drawn by the generator of an epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from razor_cli.families.diffusion.denoiser import Denoiser


@dataclass(frozen=True)
class Noised:
    """Latents as they were [n, ...], their noise, how much of it there is [n], and what comes of both."""

    latents: Tensor
    noise: Tensor
    at: Tensor
    seen: Tensor


def noised(denoiser: Denoiser, latents: Tensor, generator: torch.Generator) -> Noised:
    """Return latents with noise of any amount: timesteps alike likely, or a flow's sigma as it is trained."""
    clean = latents.to(denoiser.device, denoiser.dtype)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    at = denoiser.steps(len(clean), 1, seed)[:, 0].to(denoiser.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return Noised(clean, noise, at, denoiser.noised(clean, noise, at))
