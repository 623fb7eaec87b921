"""What the language model of a LLaVA is, told by its weights as they are: no edit changes it, a quantization
does.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from razor_cli.families.llava.names import PROJECTOR, TOWER

STRIDE = 7  # every so many values are summed once more, so that two that change places count


@torch.no_grad()
def language_digest(module: nn.Module) -> str:
    """Return a digest of sums over the tensors of the language model and its head."""
    digest = hashlib.sha256()
    for name, value in _tensors(module):
        flat = value.detach().reshape(-1)
        sums = [float(part.sum(dtype=torch.float64)) for part in (flat, flat[::STRIDE])]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)} {sums}\n".encode())
    return digest.hexdigest()


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for name, value in module.named_parameters():
        if name.startswith((TOWER, PROJECTOR)):
            continue
        yield name, value
        state = getattr(value, "quant_state", None)  # of bitsandbytes: the scales of its codes
        if state is not None:
            yield f"{name} scales", state.absmax
        if (scales := getattr(value, "SCB", None)) is not None:
            yield f"{name} scales", scales
