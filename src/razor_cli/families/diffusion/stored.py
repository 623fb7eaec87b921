"""The tensors of a pipeline's files, read when they are asked for: a model of gigabytes is not held twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import T5
from razor_cli.runs.remembered import remember
from razor_cli.weights.files import read_file
from razor_cli.weights.header import read_header
from razor_cli.weights.parted import Parted, part_hash, part_of

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
SAFE = ".safetensors"


@dataclass(frozen=True)
class Place:
    """Where a tensor lies: its file, and what it is called there."""

    file: Path
    key: str


class StoredTensors(Parted):
    """Tensors of weights files by the names of the module. Files that are no safetensors are held whole, as
    they cannot be read in part.
    """

    def __init__(self, places: Mapping[str, Place]) -> None:
        self.places = dict(places)
        self._dtypes: dict[str, torch.dtype] = {}
        self._whole: dict[Path, dict[str, Tensor]] = {}

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the nets; T5, which no edit changes, takes no part in patches."""
        return tuple(part for part in dict.fromkeys(map(part_of, self.places)) if part != T5)

    def hash_of(self, part: str) -> str:
        """Return the hash of a net, remembered by the state of its files."""
        mine = [name for name in self.places if part_of(name) == part]
        called = hashlib.sha256("\n".join(sorted(mine)).encode()).hexdigest()
        files = list(dict.fromkeys(self.places[name].file for name in mine))
        return remember(f"part 1 {called}", files, lambda: part_hash({n: self[n] for n in mine}))

    def __getitem__(self, name: str) -> Tensor:
        place = self.places[name]
        if place.file.suffix != SAFE:
            return self._read(place.file)[place.key]
        try:
            with safe_open(place.file, framework="pt") as opened:
                found: Tensor = opened.get_tensor(place.key)
        except (SafetensorError, OSError) as error:
            raise WeightsError(f"{place.file} is damaged or not a safetensors file", found=error) from error
        return found

    def __contains__(self, name: object) -> bool:
        return name in self.places  # a mapping's own way would read the tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)

    def dtype(self, name: str) -> torch.dtype:
        """Return the dtype of a tensor, from the header of its file."""
        if name not in self._dtypes:
            file = self.places[name].file
            if file.suffix != SAFE:
                found = {key: value.dtype for key, value in self._read(file).items()}
            else:
                found = {k: DTYPES[e.dtype] for k, e in read_header(file).items() if e.dtype in DTYPES}
            self._dtypes |= {n: found[p.key] for n, p in self.places.items() if p.file == file}
        return self._dtypes[name]

    def _read(self, file: Path) -> dict[str, Tensor]:
        if file not in self._whole:
            self._whole[file] = read_file(file)
        return self._whole[file]


def names_in(file: Path) -> list[str]:
    """Return the names of the tensors in a weights file."""
    return list(read_header(file) if file.suffix == SAFE else read_file(file))
