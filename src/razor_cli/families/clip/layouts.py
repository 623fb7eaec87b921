"""Where the embedded stand-ins lie, for those who name one in place of a file. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from razor_cli.families.clip.standins import stand_in_folder
from razor_cli.weights.layout import Layout


def layout_of(path: Path) -> Layout | None:
    """Return nothing: a CLIP is one model, which lies as any other does."""
    return None


def stand_in(name: str) -> Path | None:
    """Return the weights of an embedded stand-in, or None where there is none of that name."""
    file = stand_in_folder(name) / f"{name}.safetensors"
    return file if file.is_file() else None
