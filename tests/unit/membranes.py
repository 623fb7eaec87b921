"""Adapters of chance beside tiny nets, and what these say and draw."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from razor_cli.contract.family import Family
from razor_cli.families.diffusion.choices import Matching
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.families.diffusion.low_rank import LowRank, core_of
from razor_cli.families.diffusion.membrane import fresh

PROMPTS = ["A Cats image in Noto style.", "a photo of a person"]
QUICK = Sampler(steps=4, guidance=3.0, batch=2)


def chance(family: Diffusion, rank: int = 2, **changes: Any) -> LowRank:
    """Return an adapter whose matrices are chance."""
    generator = torch.Generator().manual_seed(7)
    first = fresh(family.denoiser, rank, generator)
    factors = {n: (d, 0.2 * torch.randn(u.shape, generator=generator)) for n, (d, u) in first.items()}
    given: dict[str, Any] = {"alpha": 1.0, "concepts": ("Noto",), "matching": Matching.FIXED} | changes
    return LowRank(core=core_of(cast(Family, family)), factors=factors, **given)


def said(family: Diffusion, prompts: list[str] = PROMPTS) -> Tensor:
    latents = torch.randn(len(prompts), *family.denoiser.shape, generator=torch.Generator().manual_seed(9))
    at = torch.full((len(prompts),), 0.6 if family.denoiser.kind is Kind.SD3 else 600)
    with torch.no_grad():
        return family.denoiser.predict(latents, at, family.denoiser.encode(prompts))


def drawn(family: Diffusion) -> Tensor:
    return family.pictures(None).pictures(PROMPTS, [1, 2], QUICK).float()
