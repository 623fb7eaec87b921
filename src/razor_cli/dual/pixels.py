"""Pixels of listed pictures: all of them kept, or loaded anew whenever a part of them is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.budget import KEPT, Budget
from razor_cli.data.sets import Pairs
from razor_cli.dual.crops import training_crops
from razor_cli.dual.view import DualEncoder

LOADED = 32  # pictures that are decoded at a time: photographs take many times what their pixels take


def load_pixels(model: DualEncoder, pairs: Pairs, start: int, stop: int) -> Tensor:
    """Return pixels [n, 3, H, W] of the pictures start:stop, cropped where the part says so."""
    blocks = []
    for first in range(start, stop, LOADED):
        images = pairs.load(first, min(first + LOADED, stop))
        if pairs.crops is not None:
            images = training_crops(model, images, pairs.crops, first)
        blocks.append(model.preprocess(images))
    return torch.cat(blocks) if len(blocks) != 1 else blocks[0]


@dataclass(frozen=True)
class Listed:
    """Pixels of pictures start:stop of several parts, one part behind the other, which a slice loads."""

    model: DualEncoder
    parts: Sequence[Pairs]
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice) -> Tensor:
        """Return pixels [n, 3, H, W] of a part, without steps."""
        low, high, _ = part.indices(len(self))
        blocks, first = [], 0
        for pairs in self.parts:
            here = range(
                max(self.start + low, first), min(self.start + high, first + len(pairs))
            )  # of all the parts' pictures
            if here:
                blocks.append(load_pixels(self.model, pairs, here.start - first, here.stop - first))
            first += len(pairs)
        return torch.cat(blocks) if len(blocks) > 1 else blocks[0]

    def split(self, size: int) -> list[Listed]:
        """Return the same pictures in parts of at most `size`."""
        edges = range(self.start, self.stop, size)
        return [Listed(self.model, self.parts, i, min(i + size, self.stop)) for i in edges]


Pixels = Tensor | Listed


def pixels_of(
    model: DualEncoder, parts: Sequence[Pairs], tick: Callable[[str], None] = lambda _: None
) -> Pixels:
    """Return the pixels of all pictures of several sets [n, 3, H, W]: loaded and preprocessed now where that
    is no more than may be kept, else part by part when they are used.
    """
    every = Listed(model, parts, 0, sum(len(p) for p in parts))
    if not len(every):
        return model.preprocess([])
    each = every[:1]
    if len(every) * each.numel() * each.element_size() > kept_bytes(model.budget):
        return every
    for pairs in parts:
        tick(f"loading {len(pairs)} pictures")
    found = each.new_empty((len(every), *each.shape[1:]))  # filled in place: no second copy
    for first in range(0, len(every), LOADED):
        found[first : first + LOADED] = every[first : first + LOADED]
    return found


def kept_bytes(budget: Budget | None) -> int:
    """Return how many bytes of pixels, or of activations, a model's user may keep for the next time."""
    return KEPT if budget is None else budget.kept
