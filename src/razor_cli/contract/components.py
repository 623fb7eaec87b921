"""The view that unites the families: a dual encoder whose parameters are owned by named components."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn


class Tower(StrEnum):
    """Which encoder a parameter belongs to."""

    VISION = "vision"
    TEXT = "text"


class Granularity(StrEnum):
    """How finely the towers are cut into components (switch A17)."""

    HEAD_MLP = "head_mlp"
    ATTN_MLP = "attn_mlp"
    BLOCK = "block"
    TENSOR = "tensor"


class Towers(StrEnum):
    """Which towers may be edited."""

    BOTH = "both"
    VISION = "vision"
    TEXT = "text"

    def include(self, tower: Tower) -> bool:
        """Tell whether `tower` is among them."""
        return self is Towers.BOTH or self.value == tower.value


@dataclass(frozen=True)
class Slice:
    """A contiguous part of one named parameter: indices start:stop of dimension dim, or all of it
    (dim None).
    """

    param: str
    dim: int | None = None
    start: int = 0
    stop: int = 0

    def of(self, tensor: Tensor) -> Tensor:
        """Return the view of `tensor` that this slice owns."""
        return tensor if self.dim is None else tensor.narrow(self.dim, self.start, self.stop - self.start)


@dataclass(frozen=True)
class Component:
    """A named set of parameter slices that is scored and edited as one: an attention head, an MLP, a block, a
    tensor.
    """

    name: str  # visual.3.head2, text.0.mlp, or a parameter's own name
    kind: str  # head | mlp | attn | block | tensor
    tower: Tower
    # Block index inside its tower; -1 for what enters block 0, n_layers for what follows the last block.
    layer: int
    slices: tuple[Slice, ...] = field(repr=False)

    def views(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return this component's views into a mapping of full tensors, in slice order."""
        return [s.of(tensors[s.param]) for s in self.slices]

    def vector(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the concatenation of this component's slices as one vector (a copy)."""
        return torch.cat([v.reshape(-1) for v in self.views(tensors)])

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the parameters that this component touches."""
        return tuple(dict.fromkeys(s.param for s in self.slices))


class DualEncoder(Protocol):
    """An image tower and a text tower that share a space. CLIP is one; later families offer the same view."""

    family: str  # "clip"
    label: str  # model's name in tables
    stand_in: bool
    module: nn.Module  # its named parameters are the names that components, edits and patches use

    @property
    def scale(self) -> float:
        """Return exp(logit_scale)."""
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

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d]; differentiable."""
        ...

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d]; differentiable."""
        ...

    def quantizable(self) -> list[str]:
        """Return the names of all attention and MLP weights of both towers (scope `linear`), `in_proj_weight`
        included.
        """
        ...

    def weights_hash(self) -> str:
        """Return the SHA-256 over names, dtypes, shapes and bytes of all parameters as stored."""
        ...


def parameters(model: DualEncoder) -> dict[str, Tensor]:
    """Return the live parameters by name, without gradient tracking on the views."""
    return {name: p.data for name, p in model.module.named_parameters()}


@contextmanager
def swapped(model: DualEncoder, values: Mapping[str, Tensor]) -> Iterator[None]:
    """Hold `values` in place of the named parameters, and restore the exact former bits on leaving."""
    live = parameters(model)
    undo = {name: live[name].clone() for name in values}
    try:
        for name, value in values.items():
            live[name].copy_(value)
        yield
    finally:
        for name, value in undo.items():
            live[name].copy_(value)
