"""A CLIP model of open_clip or transformers behind the dual-encoder view, with replay of a tower's tail."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from razor_cli.contract.components import Component, Granularity, Tower, Towers, parameters
from razor_cli.dual.components import TowerLayout, every_tensor, list_components


@dataclass(kw_only=True)
class Clip:
    """One loaded CLIP model. Computation is fp32; `storage` names the dtype each tensor has in its file."""

    label: str
    stand_in: bool
    module: nn.Module
    layouts: tuple[TowerLayout, TowerLayout]  # vision, text
    image_features: Callable[[Tensor], Tensor]
    text_features: Callable[[Tensor], Tensor]
    transform: Callable[[Image.Image], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    stored: Mapping[str, Tensor]  # the checkpoint's tensors as stored: what patches and hashes refer to
    source: str  # file name, tag or folder name, without the path
    architecture: str
    family: str = "clip"
    device: str = "cpu"
    _hash: str | None = field(default=None, init=False)

    @property
    def scale(self) -> float:
        """Return exp(logit_scale)."""
        return float(parameters(self)["logit_scale"].exp())

    def blocks(self, tower: Tower) -> Sequence[nn.Module]:
        """Return the transformer blocks of a tower."""
        layout = self.layouts[0 if tower is Tower.VISION else 1]
        return list(self.module.get_submodule(layout.prefix.rstrip(".")).children())

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components in architecture order."""
        return list_components(self.layouts, parameters(self), granularity, towers, include_projections)

    def tensors(self) -> list[Component]:
        """Return one component for each parameter, biases, embeddings and logit scale included, named like
        it.
        """
        return every_tensor(self.layouts, parameters(self))

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, H, W] as the model's evaluation transform makes them."""
        return torch.stack([self.transform(i) for i in images])

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [n, length of the longest]."""
        return self.tokenizer(list(texts))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d]."""
        return F.normalize(self.image_features(pixels.to(self.device)), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d]."""
        return F.normalize(self.text_features(tokens.to(self.device)), dim=-1)

    def quantizable(self) -> list[str]:
        """Return the names of all attention and MLP weights of both towers."""
        return [w for layout in self.layouts for layer in range(layout.layers) for w in layout.weights(layer)]

    def storage_dtype(self, name: str) -> torch.dtype:
        """Return the dtype a parameter has in its file (fp32 for weights that were never stored)."""
        return self.stored[name].dtype if name in self.stored else torch.float32

    def weights_hash(self) -> str:
        """Return the SHA-256 over names, dtypes, shapes and bytes of the checkpoint as stored, and the
        architecture.
        """
        if self._hash is None:
            digest = hashlib.sha256(self.architecture.encode())
            for name in sorted(self.stored):
                value = self.stored[name].detach().cpu().contiguous()
                digest.update(f"{name}|{value.dtype}|{tuple(value.shape)}|".encode())
                digest.update(value.reshape(-1).view(torch.uint8).numpy().tobytes())
            self._hash = digest.hexdigest()
        return self._hash


class _ReachedError(Exception):
    """Raised inside a forward pass when the wanted block has been computed."""


def run_prefix(model: Clip, tower: Tower, inputs: Tensor, layer: int) -> Any:
    """Return what block `layer` - 1 puts out, without computing the blocks behind it (layer >= 1)."""
    caught: list[Any] = []

    def stop(_module: nn.Module, _args: Any, output: Any) -> None:
        caught.append(output)
        raise _ReachedError

    handle = model.blocks(tower)[layer - 1].register_forward_hook(stop)
    try:
        _features(model, tower)(inputs.to(model.device))
    except _ReachedError:
        return caught[0]
    finally:
        handle.remove()
    raise RuntimeError(f"{tower} tower of {model.label} never reached block {layer - 1}")


@contextmanager
def _short_cut(blocks: Sequence[nn.Module], layer: int, saved: Any) -> Iterator[None]:
    """Let blocks before `layer` do nothing, the last of them returning `saved`; the library's own forward
    runs the rest.
    """

    def skip(hidden: Tensor, *_args: Any, **_keywords: Any) -> Tensor:
        return hidden

    def resume(*_args: Any, **_keywords: Any) -> Any:
        return saved

    for block in blocks[: layer - 1]:
        block.forward = skip  # type: ignore[method-assign, assignment]
    blocks[layer - 1].forward = resume  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in blocks[:layer]:
            del block.forward


def run_suffix(model: Clip, tower: Tower, inputs: Tensor, layer: int, saved: Any) -> Tensor:
    """Return normalised embeddings [n, d], computing only from block `layer` on, from its saved input."""
    with _short_cut(model.blocks(tower), layer, saved):
        return F.normalize(_features(model, tower)(inputs.to(model.device)), dim=-1)


def _features(model: Clip, tower: Tower) -> Callable[[Tensor], Tensor]:
    return model.image_features if tower is Tower.VISION else model.text_features
