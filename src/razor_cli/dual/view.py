"""The view that families with two towers and one space offer: pictures and texts become comparable
embeddings.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from PIL import Image
from torch import Tensor, nn

from razor_cli.contract.budget import Budget
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component


class Tower(StrEnum):
    """Which encoder a parameter belongs to."""

    VISION = "vision"
    TEXT = "text"


class DualEncoder(Protocol):
    """An image tower and a text tower that share a space."""

    label: str  # model's name in tables
    device: str
    budget: Budget | None  # what it may take; None: nobody said

    @property
    def module(self) -> nn.Module:
        """Return the module; its named parameters are the names that components, edits and patches use."""
        ...

    @property
    def scale(self) -> float:
        """Return exp(logit_scale)."""
        ...

    @property
    def bias(self) -> float | None:
        """Return what a model of the sigmoid loss (SigLIP) adds to scaled cosines, None for InfoNCE."""
        ...

    def blocks(self, tower: Tower) -> Sequence[nn.Module]:
        """Return the transformer blocks of a tower, first to last."""
        ...

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components in architecture order."""
        ...

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, H, W] as the model's evaluation transform makes them."""
        ...

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [n, length], no longer than the context."""
        ...

    def image_features(self, pixels: Tensor, /) -> Tensor:
        """Return image embeddings [n, d] before they are normalised; differentiable."""
        ...

    def text_features(self, tokens: Tensor, /) -> Tensor:
        """Return text embeddings [n, d] before they are normalised; differentiable."""
        ...

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d]; differentiable."""
        ...

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d]; differentiable."""
        ...
