"""What a loaded CLIP does beside its weights, found by trying: pixels of a drawn picture, ids of sentences.

The files beside the weights say so too, and are part of the weights' hash. This is the check of that: it
also sees another version of a library that reads the same files in another way.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from PIL import Image
from torch import nn

from razor_cli.data.rendered import pixels_version
from razor_cli.dual.view import DualEncoder

SIZES = ((301, 203), (40, 61))  # width, height: both ways of lying, one to be made smaller and one larger
SENTENCES = (
    "a photo of a person.",
    "An emoji of an owl,  in CAPITALS &amp; twice",
    "na\u00efve Zo\u00eb, \u6771\u4eac \U0001f989",
    " ".join(["a rather long sentence about nothing at all"] * 20),
)


def preparation_of(model: DualEncoder, *parts: object) -> str:
    """Return the hash of the pixels and ids that a model makes, of its module's parts, their plain attributes
    and the further ones given, and of the code that draws and decodes pictures.
    """
    digest = hashlib.sha256()
    said = (pixels_version(), model.module, *plain_attributes(model.module), *parts)
    digest.update("\0".join(map(str, said)).encode())
    made = [*(model.preprocess([drawn(*size)]) for size in SIZES), *(model.tokenize([s]) for s in SENTENCES)]
    for tensor in made:
        digest.update(f"{tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def plain_attributes(module: nn.Module) -> list[str]:
    """Return what the modules below one hold of numbers and words, such as how a tower pools: two that are
    printed alike may differ in them alone.
    """
    return [
        f"{where}.{name}={value!r}"
        for where, part in module.named_modules()
        for name, value in sorted(vars(part).items())
        if not name.startswith("_") and name != "training" and isinstance(value, bool | int | float | str)
    ]


def drawn(width: int, height: int) -> Image.Image:
    """Return a picture with edges, slopes and every colour, the same everywhere."""
    y, x = np.mgrid[:height, :width]
    channels = [3 * x + y, x * y // 7, 255 * ((x // 9 + y // 9) % 2)]
    return Image.fromarray((np.stack(channels, axis=-1) % 256).astype(np.uint8), "RGB")
