"""Replay of a tower's tail: blocks before a changed one are short-cut with what they put out before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from razor_cli.dual.view import DualEncoder, Tower


class _ReachedError(Exception):
    """Raised inside a forward pass when the wanted block has been computed."""


def run_prefix(model: DualEncoder, tower: Tower, inputs: Tensor, layer: int) -> Any:
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
        block.forward = skip
    blocks[layer - 1].forward = resume
    try:
        yield
    finally:
        for block in blocks[:layer]:
            del block.forward


def run_suffix(model: DualEncoder, tower: Tower, inputs: Tensor, layer: int, saved: Any) -> Tensor:
    """Return normalised embeddings [n, d], computing only from block `layer` on, from its saved input."""
    with _short_cut(model.blocks(tower), layer, saved):
        return F.normalize(_features(model, tower)(inputs.to(model.device)), dim=-1)


def _features(model: DualEncoder, tower: Tower) -> Callable[[Tensor], Tensor]:
    return model.image_features if tower is Tower.VISION else model.text_features
