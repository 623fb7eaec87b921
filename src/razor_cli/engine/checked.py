"""Tensors and texts in one safetensors file with a checksum over both: a byte that flipped on disk is damage,
and never a number.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

SUM = "crc32"


def write_checked(path: Path, tensors: Mapping[str, Tensor], **texts: str) -> None:
    """Write tensors and texts with their checksum."""
    held: dict[str, Tensor] = {}
    storages: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.detach().cpu().contiguous()
        whole = own.untyped_storage()
        if whole.data_ptr() in storages or whole.nbytes() != own.nbytes:
            own = own.clone()  # tensors may share storage, which the format refuses
        storages.add(own.untyped_storage().data_ptr())
        held[name] = own
    save_file(held, path, metadata={**texts, SUM: checksum(held, texts)})


def read_checked(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors (CPU) and texts of a file. Raises ValueError if they are not those that were
    written, SafetensorError or OSError for a file that cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        texts = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if texts.pop(SUM, None) != checksum(tensors, texts):
        raise ValueError(f"{path.name} holds other bytes than were written")
    return tensors, texts


def checksum(tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> str:
    """Return eight hex digits over names, dtypes, shapes and bytes of tensors, and over texts."""
    found = zlib.crc32(repr(sorted(texts.items())).encode())
    for name in sorted(tensors):
        value = tensors[name]
        found = zlib.crc32(f"{name}|{value.dtype}|{tuple(value.shape)}".encode(), found)
        found = zlib.crc32(value.reshape(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
