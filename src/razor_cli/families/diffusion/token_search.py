"""Adversarial tokens: words of the table that bring a target back, found by gradients.

What is minimised is the objective of UnlearnDiffAtk (Zhang et al., ECCV 2024): the noise of the target's
pictures, foretold by the edited net under the prompt. How discrete tokens are found is PEZ (Wen et al.,
NeurIPS 2023): each step takes the gradient at the nearest words of the table and applies it to vectors that
are free. The tokens are one row for all pictures, not one for each as in the first. Of the rows that the
search passes, the one with the lowest loss over the same noised pictures is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.contract.family import Say, Tick
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.inversion import Inverting, Tokens, Wording

if TYPE_CHECKING:
    from razor_cli.families.diffusion.denoiser import Denoiser

COMPARED = 16  # noised pictures by which rows of tokens are compared, always the same


class FoundTokens(Tokens):
    """Tokens that are words of the table, neither special ones nor those of the target's names."""

    def __init__(self, denoiser: Denoiser, place: Wording, method: Inverting, seed: int) -> None:
        super().__init__(denoiser, place, method, seed, first="")
        generator = torch.Generator().manual_seed(seed)
        self.allowed = {name: self._allowed(name) for name in self.vectors}
        for name, vector in self.vectors.items():
            rows = torch.randint(len(self.allowed[name]), (len(vector),), generator=generator)
            with torch.no_grad():
                vector.copy_(self._table(name)[self.allowed[name][rows]])
        self.best: dict[str, Tensor] | None = None  # ids of the best row of words so far, by encoder
        self.fixed: dict[str, Tensor] | None = None  # ids that are read whatever the free vectors are
        self._losses: dict[tuple[int, ...], float] = {}

    def _allowed(self, name: str) -> Tensor:
        """Return the ids that tokens may have."""
        tokenizer = getattr(self.denoiser.pipeline, name.replace("text_encoder", "tokenizer"))
        barred = {i for n in self.place.names for i in self._words(name, n)} | set(tokenizer.all_special_ids)
        found = [i for i in range(min(len(tokenizer), len(self._table(name)))) if i not in barred]
        if not found:
            raise ConfigError(f"{self.place.count}: no word is left that could stand for the target")
        return torch.tensor(found)

    def nearest(self, name: str) -> Tensor:
        """Return the ids of the words whose vectors lie nearest by angle to the free ones."""
        allowed = self.allowed[name]
        words = F.normalize(self._table(name)[allowed].float(), dim=-1)
        with torch.no_grad():
            alike = F.normalize(self.vectors[name].float(), dim=-1) @ words.T
        return allowed[alike.argmax(dim=1).cpu()]

    def shown(self, name: str) -> Tensor:
        """Return the vectors of the words. While the search runs, the gradient at them is handed to the free
        ones.
        """
        if self.fixed is not None:
            return self._table(name)[self.fixed[name]]
        vector = self.vectors[name]
        return vector + (self._table(name)[self.nearest(name)] - vector).detach()

    def learn(self, latents: Tensor, method: Inverting, seed: int, *, tick: Tick, say: Say) -> None:
        """Search, and hold on to the best row of words."""
        self.settle(latents, method)
        super().learn(latents, method, seed, tick=tick, say=say)
        self.fixed = self.best

    @torch.no_grad()
    def settle(self, latents: Tensor, _method: Inverting, /) -> None:
        """Compare the words of a step with the best so far."""
        now = {name: self.nearest(name) for name in self.vectors}
        key = tuple(int(i) for ids in now.values() for i in ids)
        if key in self._losses:
            return
        self.fixed = now
        loss = float(self.loss(latents, COMPARED, torch.Generator().manual_seed(self.seed)))
        self.fixed = None
        if loss < min(self._losses.values(), default=float("inf")):
            self.best = now
        self._losses[key] = loss
