"""Choices that settings, methods and families share, apart from what uses them, so that they
import nothing.
"""

from __future__ import annotations

from enum import StrEnum


class Granularity(StrEnum):
    """How finely the towers are cut into components (switch A17)."""

    HEAD_MLP = "head_mlp"
    ATTN_MLP = "attn_mlp"
    BLOCK = "block"
    TENSOR = "tensor"


class Towers(StrEnum):
    """Which towers may be edited; a tower is called what its components say."""

    BOTH = "both"  # every one there is
    VISION = "vision"
    TEXT = "text"

    def include(self, tower: str) -> bool:
        """Tell whether `tower` is among them; a second one of its kind is (`text_2` is a text tower)."""
        return self is Towers.BOTH or tower == self.value or tower.startswith(f"{self.value}_")


class Direction(StrEnum):
    """Which way a quantity counts: along a loss, or as a metric."""

    UP = "up"
    DOWN = "down"


class Device(StrEnum):
    """Where tensors live; auto takes a GPU if there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
