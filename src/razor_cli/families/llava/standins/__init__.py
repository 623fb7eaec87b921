"""Weights of the embedded stand-in models, with their cards: a folder each, in the layout of transformers,
and beside it the paired CLIP without its image tower, which is the model's own.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

STAND_INS = ("llava_tiny",)  # those that ship


def stand_in_folder(name: str) -> Path:
    """Return the folder of an embedded stand-in, whether or not it is there."""
    return Path(str(resources.files(__name__))) / name
