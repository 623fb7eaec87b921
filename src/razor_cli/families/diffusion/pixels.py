"""Pictures as the VAE takes them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def pixels_of(images: Sequence[Image.Image], side: int) -> Tensor:
    """Return pixels [n, 3, side, side] in 0..1: the middle square of each picture, bicubic."""
    return torch.stack([_square(image, side) for image in images])


def _square(image: Image.Image, side: int) -> Tensor:
    width, height = image.size
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    box = (left, top, left + short, top + short)
    fitted = image.convert("RGB").resize((side, side), Image.Resampling.BICUBIC, box=box)
    return torch.from_numpy(np.asarray(fitted, dtype=np.float32) / 255).permute(2, 0, 1)
