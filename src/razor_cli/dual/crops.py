"""Random crops of pictures, as open_clip cuts what it trains on."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from PIL import Image

from razor_cli.dual.view import DualEncoder

SHARE = (0.9, 1.0)  # of a picture's area: open_clip's default; the shape is torchvision's, 3:4 to 4:3


def training_crops(
    model: DualEncoder, images: Sequence[Image.Image], seed: int, first: int
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
