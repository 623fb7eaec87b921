"""Pictures of a set with noise in them, and what a net says of them under prompts."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.families.diffusion.context import Context

if TYPE_CHECKING:
    from razor_cli.data.sets import Pairs
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.denoiser import Denoiser
    from razor_cli.families.diffusion.family import Diffusion

KEPT = 256  # prompts whose contexts are held


@dataclass(frozen=True, kw_only=True)
class Noised:
    """A batch: latents with noise in them [n, ...], how much [n], and what the net should predict of them."""

    latents: Tensor
    at: Tensor
    target: Tensor

    def __len__(self) -> int:
        return len(self.latents)


class Prompts:
    """Contexts of prompts by text encoders that do not train, those asked for last being kept."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.kept: OrderedDict[str, Context] = OrderedDict()

    @torch.no_grad()
    def of(self, prompts: Sequence[str]) -> Context:
        """Return the contexts of prompts [n]; each is encoded by itself, and so the same beside others."""
        found = {p: self.kept[p] for p in prompts if p in self.kept}
        found |= {p: self.denoiser.encode([p]) for p in dict.fromkeys(prompts) if p not in found}
        for prompt, context in found.items():
            self.kept[prompt] = context
            self.kept.move_to_end(prompt)
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return Context.cat([found[p] for p in prompts])


class Pictures:
    """The pictures of a part as latents, from which batches are drawn."""

    def __init__(self, lab: Lab, part: Pairs) -> None:
        family = cast("Diffusion", lab.family)
        self.denoiser, self.captions = family.denoiser, part.captions
        self.latents = family.latents_of(part)

    def __len__(self) -> int:
        return len(self.latents)

    def noised(self, index: Tensor, generator: torch.Generator) -> Noised:
        """Return the pictures of some rows with noise, as far as training draws it: to a uniform timestep, or
        to a sigma of the flow's own distribution.
        """
        return noised(self.denoiser, self.latents[index], generator)


def noised(denoiser: Denoiser, latents: Tensor, generator: torch.Generator) -> Noised:
    """Return latents with noise, as far as the generator draws it."""
    clean = latents.to(denoiser.device)
    seed = int(torch.randint(2**31, (1,), generator=generator))
    at = denoiser.steps(len(clean), 1, seed)[:, 0].to(denoiser.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    return Noised(latents=denoiser.noised(clean, noise, at), at=at, target=denoiser.target(clean, noise, at))


def walk(pictures: int, count: int, generator: torch.Generator) -> Tensor:
    """Return `count` row numbers: through all pictures in a drawn order, and again where that is too few."""
    orders = [torch.randperm(pictures, generator=generator) for _ in range(-(-count // pictures))]
    return torch.cat(orders)[:count]


def said(denoiser: Denoiser, batch: Noised, context: Context) -> Tensor:
    """Return what the net predicts of a batch under contexts [n], in fp32."""
    return denoiser.predict(batch.latents, batch.at, context).float()


def error(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean squared distance of a prediction from what it should be."""
    return F.mse_loss(predicted.float(), wanted.float())
