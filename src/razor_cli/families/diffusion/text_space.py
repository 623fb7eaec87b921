"""How far an edit moved what prompts mean: contexts of prompts under the weights as they are, against those
of the unedited model. Milliseconds, and no picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from razor_cli.data.shots import DrawnSets
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import Denoiser

ENCODED = 64  # prompts at once


@dataclass(kw_only=True)
class TextSpace:
    """Contexts of the unedited model, kept; `metrics` compares those of the weights as they are now.

    `text_kept`: 100 (1 - mean squared drift of the retain prompts / mean squared distance between prompts of
    different names), at least 0. `text_gone`: of the distance between target prompts and what they say
    without the target, how much is left, in %. SD3 has a vector for each prompt beside those of its tokens:
    both are compared, and the mean counts.
    """

    denoiser: Denoiser
    sets: DrawnSets
    retain: Context = field(init=False)
    anchors: Context = field(init=False)
    far: Sequence[Tensor] = field(init=False)  # of each part the scalar distance that drift is a share of
    away: Sequence[Tensor] = field(init=False)  # of each part the distance of targets and anchors

    def __post_init__(self) -> None:
        s = self.sets
        self.retain = self._encoded(s.retain_prompts)
        self.anchors = self._encoded(s.anchors)
        names = self._encoded(list(s.prompts.values()))
        self.far = [_spread(part) for part in names.parts()]
        self.away = self._distances()

    @torch.no_grad()
    def _encoded(self, prompts: Sequence[str]) -> Context:
        parts = [prompts[i : i + ENCODED] for i in range(0, len(prompts), ENCODED)]
        return Context.cat([self.denoiser.encode(p).map(lambda t: t.detach().float().cpu()) for p in parts])

    def _distances(self) -> list[Tensor]:
        now = self._encoded(self.sets.target_prompts)
        pairs = zip(now.parts(), self.anchors.parts(), strict=True)
        return [(a - b).square().mean().sqrt() for a, b in pairs]

    def metrics(self) -> dict[str, float]:
        """Return what the weights as they are now keep and have lost; nothing of what the sets do
        not tell.
        """
        found = {}
        if len(self.retain) and all(bool(f > 0) for f in self.far):
            now = self._encoded(self.sets.retain_prompts)
            drifts = [
                (a - b).square().mean() / far
                for a, b, far in zip(now.parts(), self.retain.parts(), self.far, strict=True)
            ]
            found["text_kept"] = max(0.0, 100 * (1 - float(torch.stack(drifts).mean())))
        if all(bool(d > 0) for d in self.away):
            left = [a / b for a, b in zip(self._distances(), self.away, strict=True)]
            found["text_gone"] = 100 * float(torch.stack(left).mean())
        return found


def _spread(part: Tensor) -> Tensor:
    """Return the mean squared distance of two different rows [n, ...]; 0 for fewer than two."""
    if len(part) < 2:
        return torch.zeros(())
    return 2 * part.flatten(1).var(dim=0, unbiased=True).mean()
