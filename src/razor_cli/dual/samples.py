"""Batches of one set of pictures, drawn for a training, with their captions and class numbers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from razor_cli.data.sets import Pairs
from razor_cli.dual.encoder import Encoder
from razor_cli.dual.pixels import Listed, pixels_of
from razor_cli.engine.probe import rows_fit


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One batch: row numbers in its set [n], pixels [n, 3, H, W], distinct caption tokens [k, L], caption row
    of each picture [n], class number of each picture among `sets.class_names` [n], -1 for pictures of another
    domain.
    """

    index: Tensor
    pixels: Tensor
    tokens: Tensor
    rows: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.index)


class Samples:
    """One set of pictures with captions and class numbers, from which batches are drawn."""

    def __init__(self, encoder: Encoder, pairs: Pairs) -> None:
        self.encoder, self.pairs = encoder, pairs
        numbers: dict[str, int] = {}
        self.rows = torch.tensor(
            [numbers.setdefault(c, len(numbers)) for c in pairs.captions], dtype=torch.long
        )
        self.captions = list(numbers)
        names, domain = {n: i for i, n in enumerate(encoder.sets.class_names)}, encoder.sets.domain
        labels = [names.get(p.concept, -1) if p.domain == domain else -1 for p in pairs.pictures]
        self.labels = torch.tensor(labels, dtype=torch.long)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def _tokens(self) -> Tensor:
        return self.encoder.model.tokenize(self.captions)

    @cached_property
    def _kept(self) -> Tensor | None:
        """Pixels of the whole set, if they are not too many."""
        found = pixels_of(self.encoder.model, [self.pairs])
        return found.to(self.encoder.model.device) if isinstance(found, Tensor) else None

    def pixels(self, index: Tensor) -> Tensor:
        """Return pixels [n, 3, H, W] of the rows `index` [n]."""
        if self._kept is not None:
            return self._kept[index.to(self._kept.device)]
        chosen = Pairs(tuple(self.pairs.pictures[i] for i in index.tolist()), self.pairs.sources)
        return self.encoder.model.preprocess(chosen.load()).to(self.encoder.model.device)

    def take(self, index: Tensor) -> Drawn:
        """Return the batch of the rows `index` [n]."""
        used, rows = self.rows[index].unique(return_inverse=True)
        device = self.encoder.model.device
        return Drawn(
            index=index,
            pixels=self.pixels(index),
            tokens=self._tokens[used].to(device),
            rows=rows.to(device),
            labels=self.labels[index].to(device),
        )

    def shuffled(self, size: int, generator: torch.Generator, count: int | None = None) -> list[Tensor]:
        """Return row numbers of batches that walk once through the set in a drawn order, or through `count`
        drawn pictures.

        A rest of one picture joins the batch before it: one pair has no negatives.
        """
        return self.cut(torch.randperm(len(self), generator=generator)[:count], size)

    def ordered(self, size: int) -> list[Tensor]:
        """Return row numbers of batches in the order of the set."""
        return self.cut(torch.arange(len(self)), size)

    @staticmethod
    def cut(order: Tensor, size: int) -> list[Tensor]:
        """Return picture numbers [n] in batches of `size`; a rest of one joins the batch before it."""
        if not len(order):
            return []
        parts = list(order.split(size))
        if size > 1 and len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    @torch.no_grad()
    def embedded(self) -> Tensor:
        """Return image embeddings [n, d] at the weights as they are now, without gradients."""
        self.encoder.lab.cost.forwards += len(self)
        if not len(self):
            return torch.zeros(0, 1)
        listed = Listed(self.encoder.model, [self.pairs], 0, len(self))
        size = rows_fit(self.encoder.model.budget, "pictures looked at", self.encoder.encode_image, listed)
        return torch.cat(
            [self.encoder.encode_image(self.pixels(i)) for i in torch.arange(len(self)).split(size)]
        )
