"""What exam and scoreboard need of a loaded pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from torch import nn

from razor_cli.engine.cache import TensorCache
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.drawing import PictureStore
from razor_cli.families.diffusion.paired import Paired


class Drawer(Protocol):
    """A family that draws."""

    denoiser: Denoiser
    paired: Mapping[str, Paired]

    @property
    def module(self) -> nn.Module:
        """Return the module, whose parameters trials put others in place of."""
        ...

    def dual(self, tower: str = "") -> Paired:
        """Return a text encoder with the image tower that belongs to it."""
        ...

    def pictures(self, cache: TensorCache | None) -> PictureStore:
        """Return where pictures are drawn and kept."""
        ...
