"""Single values as the type of a field: what no computation, file or record could take is invalid."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any

INVALID = object()  # what a refused value becomes, so that the check goes on
LARGEST = 2**63  # of whole numbers, as arrays and generators take them
LONGEST_PATH, LONGEST_NAME = 4096, 255  # bytes that file systems allow


def scalar(value: object, kind: Any) -> Any:
    """Return a plain value as the type `kind`, or INVALID."""
    if kind is NoneType:
        return None if value is None else INVALID
    if isinstance(kind, type) and issubclass(kind, Enum):
        return next(
            (m for m in kind if (m.value == value and type(m.value) is type(value)) or str(m.value) == value),
            INVALID,
        )
    if kind is Path:
        return _path(value)
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        number = not math.isnan(value) if isinstance(value, float) else abs(value) < LARGEST
        return float(value) if number else INVALID
    if type(value) is not kind or (isinstance(value, int) and abs(value) >= LARGEST):
        return INVALID
    return INVALID if isinstance(value, str) and not _storable(value) else value


def _path(value: object) -> Any:
    """Return a path with the home folder put in; INVALID for what no file can be called."""
    if not isinstance(value, (str, Path)) or not str(value) or not _storable(str(value)):
        return INVALID
    try:
        path = Path(value).expanduser()
    except RuntimeError:  # ~name of nobody
        return INVALID
    sizes = [len(part.encode()) for part in path.parts]
    return (
        path if sum(sizes) + len(sizes) < LONGEST_PATH and max(sizes, default=0) <= LONGEST_NAME else INVALID
    )


def _storable(text: str) -> bool:
    """Tell whether a text can be written into files: UTF-8, and no null character in it."""
    return "\0" not in text and not any("\ud800" <= c <= "\udfff" for c in text)


def is_finite(value: Any) -> bool:
    """Tell whether all numbers of a converted value are finite."""
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return all(map(is_finite, inner)) and not (isinstance(value, float) and not math.isfinite(value))
