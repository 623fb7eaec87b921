"""SEOT's inference-time optimisation: gradient steps on a context, so that the picture looks at the other
words as before and at the target's otherwise. For a UNet alone, whose attention has both kinds of maps.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.families.diffusion.attention import watching

if TYPE_CHECKING:
    from razor_cli.families.diffusion.acting import Moment
    from razor_cli.families.diffusion.context import Context
    from razor_cli.families.diffusion.denoiser import Denoiser

LEAST = 0.1  # of the step at the last of all steps, beside 1 at the first
SEEN_OF_TARGET, SEEN_OF_OTHERS = 0.85, 0.95  # of a map's highest value: from there on a place shows the word
FINE = 256  # side that maps are enlarged to before they are cut


@dataclass(frozen=True, kw_only=True)
class Ito:
    """How often, how long and how far contexts are moved."""

    iterations: int = 10  # in each step of the sampler
    until: float = 0.4  # share of the steps
    scale: float = 20.0  # length of a step
    retain: float = 1.0  # weight of other words' maps staying
    erase: float = -0.5  # of the target's
    side: int = 16  # of the maps, at most

    def due(self, moment: Moment, start: float) -> bool:
        """Tell whether contexts are moved in this step; never where the net is asked without a sampler."""
        return moment.steps > 1 and start * moment.steps <= moment.step < self.until * moment.steps

    def moved(
        self,
        denoiser: Denoiser,
        before: Context,
        after: Context,
        touched: Tensor,
        words: Tensor,
        ends: Tensor,
        moment: Moment,
    ) -> Context:
        """Return `after` with its touched rows moved from where they are, against the maps of `before`."""
        assert moment.latents is not None and moment.at is not None
        latents, at = moment.latents[touched], moment.at.to(touched.device)[touched]
        kinds = Kinds.of(words[touched], ends[touched])
        wanted = _maps(denoiser, latents, at, before.rows(touched), self.side)
        places = kinds.places(wanted[0])
        length = self.scale * (1 + (LEAST - 1) * moment.step / max(1, moment.steps - 1)) ** 0.5
        tokens = after.tokens[touched]
        for _ in range(self.iterations):
            with torch.enable_grad():
                leaf = tokens.detach().requires_grad_()
                found = _maps(denoiser, latents, at, replace(after.rows(touched), tokens=leaf), self.side)
                loss = self.loss(wanted, found, kinds, places)
                (slope,) = torch.autograd.grad(loss, leaf)
            tokens = leaf.detach() - length * slope
        every = after.tokens.clone()
        every[touched] = tokens
        return replace(after, tokens=every)

    def loss(
        self,
        wanted: tuple[Tensor, Tensor],
        found: tuple[Tensor, Tensor],
        kinds: Kinds,
        places: tuple[Tensor, Tensor],
    ) -> Tensor:
        """Return how far the maps of words [n, places, L] and of places [n, places, places] are from what
        they were: of other words and where these are seen, less those of the target.
        """
        crossed, own = (
            1 - F.cosine_similarity(a.double(), b.double(), dim=1) for a, b in zip(wanted, found, strict=True)
        )
        weights = self.retain * kinds.others + self.erase * kinds.words.double()
        seen = self.retain * places[0] + self.erase * places[1]
        return (crossed * weights).sum() + (own * seen).sum()


@dataclass(frozen=True)
class Kinds:
    """Which rows of prompts are words of the target [n, L], and which are other words."""

    words: Tensor
    others: Tensor

    @staticmethod
    def of(words: Tensor, ends: Tensor) -> Kinds:
        """Return the kinds of rows: neither the mark of the beginning nor the ends are words."""
        others = ~(words | ends)
        others[:, 0] = False
        return Kinds(words, others.double())

    def places(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each place how many other words, and how many of the target, are seen there [n, places],
        by maps of words [n, places, L].
        """
        side = round(maps.shape[1] ** 0.5)
        grid = maps.float().transpose(1, 2).unflatten(2, (side, side))
        fine = F.interpolate(grid, size=(FINE, FINE), mode="bilinear")
        top = fine.amax(dim=(2, 3), keepdim=True)
        cut = torch.where(self.words, SEEN_OF_TARGET, SEEN_OF_OTHERS)[:, :, None, None]
        coarse = F.interpolate((fine >= top * cut).float(), size=(side, side), mode="bilinear")
        seen = (coarse > 0).flatten(2).double()
        return (seen * self.others[..., None]).sum(1), (seen * self.words.double()[..., None]).sum(1)


def _maps(
    denoiser: Denoiser, latents: Tensor, at: Tensor, context: Context, side: int
) -> tuple[Tensor, Tensor]:
    """Return what places see of words [n, places, L] and of each other [n, places, places]: means over heads
    and over the layers with the finest grid of at most `side` places a side.
    """
    crossed: list[Tensor] = []
    own: list[Tensor] = []
    with watching(denoiser, lambda _, p: crossed.append(p.mean(1)), lambda _, p: own.append(p.mean(1))):
        denoiser.read(latents, at, context)
    sizes = {p.shape[1] for p in crossed}
    fine = max((s for s in sizes if s <= side * side), default=min(sizes))
    one, other = (torch.stack([p for p in found if p.shape[1] == fine]).mean(0) for found in (crossed, own))
    return one, other
