"""Stored tensors and a module: do they fit, into it, and what they are called by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from razor_cli.errors import WeightsError


def fill(module: nn.Module, stored: Mapping[str, Tensor], what: str) -> None:
    """Copy a checkpoint into a module in fp32; raises WeightsError as `check_fit` does."""
    check_fit(module, stored, what)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(stored[name])


def check_fit(module: nn.Module, stored: Mapping[str, Tensor], what: str) -> None:
    """Raise WeightsError unless names and shapes agree exactly with the module's (buffers that nobody stores
    aside).
    """
    wanted = {n: p.shape for n, p in module.named_parameters()}
    missing = sorted(set(wanted) - set(stored))
    extra = sorted(
        n for n in set(stored) - set(module.state_dict()) if not n.endswith(("position_ids", "attn_mask"))
    )
    wrong = [
        f"{n} {tuple(stored[n].shape)} instead of {tuple(s)}"
        for n, s in wanted.items()
        if n in stored and stored[n].shape != s
    ]
    if missing or extra or wrong:
        parts = (("missing", missing), ("unknown", extra), ("of another shape", wrong))
        found = "; ".join(f"{len(names)} {kind}: {', '.join(names[:3])}" for kind, names in parts if names)
        raise WeightsError(
            f"{what}: the tensors do not fit",
            found=found,
            fix="set model.architecture to the one the file was made for",
        )


def weights_digest(architecture: str, stored: Mapping[str, Tensor], salt: str = "") -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of a checkpoint as stored, and the
    architecture.

    `salt` stands for further files that decide answers (tokenizer, processor).
    """
    digest = hashlib.sha256((architecture + salt).encode())
    for name in sorted(stored):
        value = stored[name].detach().cpu().contiguous()
        digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
