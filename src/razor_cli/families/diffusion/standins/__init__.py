"""Weights of the embedded stand-in models, with their cards: a folder each, in the layout of diffusers."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from razor_cli.families.diffusion.files import INDEX

STAND_INS = ("sd_tiny", "sd3_tiny")  # those that ship


def stand_in_folder(name: str) -> Path:
    """Return the folder of an embedded stand-in, whether or not it is there."""
    return Path(str(resources.files(__name__))) / name


def stand_in_names() -> list[str]:
    """Return the stand-ins that are here."""
    return sorted(file.parent.name for file in stand_in_folder("").glob(f"*/{INDEX}"))
