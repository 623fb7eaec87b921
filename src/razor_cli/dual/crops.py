"""Random crops of pictures, as open_clip cuts what it trains on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor

SHARE = (0.9, 1.0)  # of a picture's area: open_clip's default; the shape is torchvision's, 3:4 to 4:3


class Prepares(Protocol):
    """A model as far as crops need it."""

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, H, W] as the model takes them."""
        ...


def training_crops(
    model: Prepares, images: Sequence[Image.Image], seed: int, first: int
) -> list[Image.Image]:
    """Return a random part of each picture at the size of the model's input, resized by bicubic
    interpolation, so that its evaluation transform only normalises what it gets.

    The crop of the picture at place `first + i` depends on the seed and that place alone, not on how the set
    is cut into batches. torchvision draws from the global generator, which is left as it was.
    """
    from torchvision.transforms import InterpolationMode, RandomResizedCrop

    if not images:
        return []
    height, width = model.preprocess(images[:1]).shape[-2:]
    crop = RandomResizedCrop((height, width), scale=SHARE, interpolation=InterpolationMode.BICUBIC)
    found = []
    with torch.random.fork_rng(devices=[]):
        for place, image in enumerate(images, first):
            torch.manual_seed(random.Random(f"crop {seed} {place}").getrandbits(63))
            found.append(crop(image))
    return found
