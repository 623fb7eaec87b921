"""The header of a safetensors file: names, dtypes and shapes; no weight is read. Imports no torch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError

MOST_BYTES = 8 * 2**20  # 60,000 tensors fit
METADATA = "__metadata__"
AGAIN = "save or fetch the file again"


@dataclass(frozen=True)
class Entry:
    """One tensor as a header tells of it."""

    dtype: str  # F16, BF16, F32 …
    shape: tuple[int, ...]
    nbytes: int

    @property
    def numel(self) -> int:
        """Return how many numbers the tensor has."""
        count = 1
        for side in self.shape:
            count *= side
        return count


def read_header(path: Path) -> dict[str, Entry]:
    """Return what a safetensors file says of its tensors. Raises WeightsError for a file that is none, or
    whose header tells of more bytes than there are.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > MOST_BYTES:
                raise WeightsError(
                    f"{path} is damaged or not a safetensors file: its header is too large",
                    allowed=f"{MOST_BYTES} bytes",
                    found=f"{length} bytes",
                    fix=AGAIN,
                )
            content = json.loads(file.read(length))
        held = path.stat().st_size - 8 - length
        found = {name: _entry(told) for name, told in content.items() if name != METADATA}
    except OSError as error:
        raise WeightsError(f"{path} cannot be read", found=error) from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path} is damaged or not a safetensors file", found=f"no header in it: {error}", fix=AGAIN
        ) from error
    told = sum(entry.nbytes for entry in found.values())
    if told > held:
        raise WeightsError(
            f"{path} is cut off", allowed=f"{told} bytes of weights", found=f"{held} bytes", fix=AGAIN
        )
    return found


def _entry(told: dict[str, Any]) -> Entry:
    start, end = told["data_offsets"]
    shape = tuple(int(side) for side in told["shape"])
    if end < start or min(shape, default=0) < 0:
        raise ValueError("a tensor of less than no bytes")
    return Entry(dtype=str(told["dtype"]), shape=shape, nbytes=end - start)
