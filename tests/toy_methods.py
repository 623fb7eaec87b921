"""Methods from outside whose edits are no new weights: an adapter, and something done at run time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from toy_net import WORDS

from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import ADAPTER, RUNTIME, Family
from razor_cli.engine.lab import Lab

LAYER = "embed.weight"


@dataclass(frozen=True)
class Adapter:
    """A low-rank change of the embedding, kept as its two factors."""

    kind: ClassVar[str] = ADAPTER

    up: Tensor
    down: Tensor

    @contextmanager
    def held(self, family: Family) -> Iterator[None]:
        with swapped(family, {LAYER: parameters(family)[LAYER] + self.up @ self.down}):
            yield

    def random_like(self, family: Family, seed: int) -> Adapter:
        generator = torch.Generator().manual_seed(seed)
        drawn = [torch.randn(t.shape, generator=generator) for t in (self.up, self.down)]
        return Adapter(*(d * t.norm() / d.norm() for d, t in zip(drawn, (self.up, self.down), strict=True)))

    def tensors(self) -> Mapping[str, Tensor]:
        return {"up": self.up, "down": self.down}


@dataclass(frozen=True)
class Switch:
    """A hook that draws nothing of the word it is told of."""

    kind: ClassVar[str] = RUNTIME

    word: int

    @contextmanager
    def held(self, family: Family) -> Iterator[None]:
        def silence(_module: Any, args: Any, output: Tensor) -> Tensor:
            return output.masked_fill((args[0] == self.word)[:, None], 0.0)

        handle = family.module.get_submodule("embed").register_forward_hook(silence)
        try:
            yield
        finally:
            handle.remove()

    def random_like(self, family: Family, seed: int) -> str:
        return "a switch has no size that a random one could share"

    def tensors(self) -> Mapping[str, Tensor]:
        return {}


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """Take the word's row out of the embedding by an adapter."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = False

    name: str = "low_rank"
    rank: int = 2

    def edit(self, lab: Lab) -> Edit:
        word, rows = WORDS.index(lab.sets.target), parameters(lab.family)[LAYER]
        up, down = torch.zeros(len(rows), self.rank), torch.zeros(self.rank, rows.shape[1])
        up[word, 0], down[0] = -1.0, rows[word]
        return Edit(change=Adapter(up, down), cost=lab.cost, notes=["the word's row is taken out"])


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Silence the word while the net runs."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = False

    name: str = "gate"

    def edit(self, lab: Lab) -> Edit:
        return Edit(change=Switch(WORDS.index(lab.sets.target)), cost=lab.cost)


@dataclass(frozen=True, kw_only=True)
class Wait:
    """Come to no end by itself."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = False

    name: str = "wait"

    def edit(self, lab: Lab) -> Edit:
        time.sleep(600)
        raise AssertionError("nobody stopped it")
