"""Weights of the embedded stand-in models, with their cards: a folder each, its weights called like the
folder.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

DEFAULT = "clip_tiny"
CONFIG = "config.json"  # of one that transformers builds; of open_clip's the file is called like the folder


def stand_in_folder(name: str) -> Path:
    """Return the folder of an embedded stand-in, whether or not it is there."""
    return Path(str(resources.files(__name__))) / name


def stand_in_names() -> list[str]:
    """Return the stand-ins whose configuration is here."""
    root = stand_in_folder("")
    return sorted(
        {p.parent.name for p in root.glob("*/*.json") if p.stem == p.parent.name or p.name == CONFIG}
    )
