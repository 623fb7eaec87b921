"""The tensors of a pipeline's files, read when they are asked for: a model of gigabytes is not held twice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

DTYPES = {
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "I8": torch.int8,
    "BOOL": torch.bool,
}


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its file, and what it is called there."""

    file: Path
    key: str


class StoredTensors(Mapping[str, Tensor]):
    """Tensors of safetensors files by the names of the module."""

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.places = dict(places)
        self._dtypes: dict[str, torch.dtype] = {}

    def __getitem__(self, name: str) -> Tensor:
        place = self.places[name]
        with safe_open(place.file, framework="pt") as opened:
            found: Tensor = opened.get_tensor(place.key)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype of a tensor, from the header of its file."""
        if not self._dtypes:
            for file in dict.fromkeys(p.file for p in self.places.values()):
                with safe_open(file, framework="pt") as opened:
                    found = {key: opened.get_slice(key).get_dtype() for key in opened.keys()}  # noqa: SIM118
                self._dtypes |= {n: DTYPES[found[p.key]] for n, p in self.places.items() if p.file == file}
        return self._dtypes[name]
