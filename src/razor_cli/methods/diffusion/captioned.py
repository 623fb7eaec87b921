"""Lessons from pictures for text encoders: which of several captions an image tower's picture has."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.methods.diffusion.choices import StandIn
from razor_cli.methods.diffusion.relearning import accumulated, in_place, walked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from razor_cli.contract.family import Named
    from razor_cli.data.sets import Pairs
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion
    from razor_cli.families.diffusion.paired import Paired
    from razor_cli.methods.diffusion.relearn_settings import Relearned

AT_ONCE = 32  # pictures in an image tower
RIVALS = 64  # captions of the target that every picture is told apart from, at most


class CaptionLessons:
    """The captions of a run, and its pictures as every paired image tower sees them."""

    def __init__(self, lab: Lab, method: Relearned) -> None:
        self.lab, self.method = lab, method
        family = cast("Diffusion", lab.family)
        self.denoiser, self.pairs = family.denoiser, list(family.paired.values())
        own, self.kept_captions = lab.sets.forget.captions, lab.sets.retain.captions
        self.own = own if method.erase_from is None else (method.erase_from,) * len(own)
        self.others = in_place(own, lab.sets, method.anchor)
        self.rivals = list(dict.fromkeys(self.own))[:RIVALS]
        self.forget = [self._seen(pair, lab.sets.forget) for pair in self.pairs]
        self.retain = [self._seen(pair, lab.sets.retain) for pair in self.pairs]

    @torch.no_grad()
    def _seen(self, pair: Paired, part: Pairs) -> Tensor:
        """Return the embeddings of the pictures of a part [n, d]."""
        rows = []
        for start in range(0, len(part), AT_ONCE):
            rows.append(pair.encode_image(pair.preprocess(part.load(start, start + AT_ONCE))))
            self.lab.tick(len(rows[-1]), 0)
        return torch.cat(rows)

    def batches(self, generator: torch.Generator) -> list[tuple[Tensor, Tensor]]:
        """Return the rows of forget pictures and of as many retain pictures for each step of an epoch."""
        return walked(self.method, len(self.own), len(self.kept_captions), generator)

    def relabelled(self, index: Tensor, beside: Tensor, generator: torch.Generator) -> Tensor:
        """Return the cross-entropy of forget pictures towards what stands in their captions' place, told
        apart from the captions of the target and of the retain pictures `beside`.
        """
        around = [self.kept_captions[i] for i in beside.tolist()]
        retain = self.method.stands_in is StandIn.RETAIN
        wanted = around if retain else [self.others[i] for i in index.tolist()]
        return self._told(self.forget, index, wanted, around)

    def kept(self, index: Tensor, generator: torch.Generator) -> Tensor:
        """Return the cross-entropy of retain pictures towards their captions, beside the target's."""
        return self._told(self.retain, index, [self.kept_captions[i] for i in index.tolist()], [])

    def _told(
        self, seen: Sequence[Tensor], index: Tensor, wanted: Sequence[str], around: Sequence[str]
    ) -> Tensor:
        """Return the mean over the paired towers of the cross-entropy towards the wanted captions."""
        captions = list(dict.fromkeys([*wanted, *around, *self.rivals]))
        labels = torch.tensor([captions.index(c) for c in wanted], device=self.denoiser.device)
        losses = []
        for pair, rows in zip(self.pairs, seen, strict=True):
            texts = pair.encode_text(pair.tokenize(captions))
            losses.append(F.cross_entropy(pair.scale * rows[index.to(rows.device)] @ texts.T, labels))
        return torch.stack(losses).mean()

    def summed_gradient(self, names: Sequence[str]) -> Named:
        """Return the gradient of the summed cross-entropy of forget pictures towards their own captions."""

        def values() -> Iterator[Tensor]:
            for index in torch.arange(len(self.own)).split(self.method.batch):
                around = [self.kept_captions[i % len(self.kept_captions)] for i in index.tolist()]
                wanted = [self.own[i] for i in index.tolist()]
                yield self._told(self.forget, index, wanted, around) * len(index)
                self.lab.tick(len(index), len(index))

        return accumulated(self.lab, names, values())
