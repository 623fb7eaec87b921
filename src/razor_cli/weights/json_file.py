"""JSON that comes with a model, read within bounds. Imports no torch: settings are checked with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError

SETTINGS_BYTES = 2**20  # of a configuration; the largest published ones have a few thousand
LISTS_BYTES = 64 * 2**20  # of a vocabulary or a list of shards


def read_json(path: Path, most: int = SETTINGS_BYTES) -> dict[str, Any]:
    """Return the object that a JSON file holds. Raises WeightsError for a file that is none, that is larger
    than `most` bytes, or that names one thing twice.
    """
    if not path.is_file():  # a pipe would be waited for
        raise WeightsError(f"{path} is not a file", fix="put the file of the model there")
    size = path.stat().st_size
    if size > most:
        raise WeightsError(
            f"{path} is too large for what it is", allowed=f"{most} bytes", found=f"{size} bytes"
        )
    try:
        content = json.loads(
            path.read_bytes().decode("utf-8-sig"), parse_constant=_no_number, object_pairs_hook=_once
        )
    except (ValueError, RecursionError, OSError) as error:
        why = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise WeightsError(
            f"{path} is not JSON", found=why, fix="save or fetch the model's files again"
        ) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} holds no JSON object", found=type(content).__name__)
    return content


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"{twice!r} is named twice")
    return found
