"""Latents with noise in them, as training draws it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from razor_cli.families.diffusion.denoiser import Denoiser


@dataclass(frozen=True, kw_only=True)
class Noised:
    """A batch: latents with noise in them [n, ...], how much [n], and what the net should predict of them."""

    latents: Tensor
    at: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.latents)


def noised(denoiser: Denoiser, latents: Tensor, generator: torch.Generator) -> Noised:
    """Return latents with noise, as far as the generator draws it."""
    clean = latents.to(denoiser.device)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    at = denoiser.steps(len(clean), 1, seed)[:, 0].to(denoiser.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return Noised(latents=denoiser.noised(clean, noise, at), at=at, target=denoiser.target(clean, noise, at))
