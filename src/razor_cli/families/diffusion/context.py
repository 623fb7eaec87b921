"""What a prompt becomes before the net sees it, and generators that are seeded by name."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Context:
    """What prompts become: a vector for each token [n, L, d], and for SD3 one for each prompt [n, p].

    `marks` is what each change at run time has to know of them [n, k]; there is none where nothing acts.
    """

    tokens: Tensor
    pooled: Tensor | None = None
    marks: tuple[Tensor, ...] = ()

    def __len__(self) -> int:
        return len(self.tokens)

    def rows(self, index: Any) -> Context:
        """Return the contexts that an index, a slice or a list of places names."""
        pooled = None if self.pooled is None else self.pooled[index]
        return Context(self.tokens[index], pooled, tuple(m[index] for m in self.marks))

    def expand(self, count: int) -> Context:
        """Return one context `count` times, without a copy."""
        pooled = None if self.pooled is None else self.pooled.expand(count, -1)
        marks = tuple(m.expand(count, -1) for m in self.marks)
        return Context(self.tokens.expand(count, -1, -1), pooled, marks)

    def parts(self) -> list[Tensor]:
        """Return the tensors that the net reads."""
        return [self.tokens] if self.pooled is None else [self.tokens, self.pooled]

    def map(self, change: Callable[[Tensor], Tensor]) -> Context:
        """Return the context with every tensor that the net reads changed."""
        pooled = None if self.pooled is None else change(self.pooled)
        return Context(change(self.tokens), pooled, self.marks)

    @staticmethod
    def cat(contexts: Sequence[Context]) -> Context:
        """Return all contexts behind one another."""
        pooled = [c.pooled for c in contexts if c.pooled is not None]
        marks = tuple(map(torch.cat, zip(*(c.marks for c in contexts), strict=True)))
        return Context(torch.cat([c.tokens for c in contexts]), torch.cat(pooled) if pooled else None, marks)


def seeded(*parts: object) -> torch.Generator:
    """Return a CPU generator whose seed is made of the parts."""
    drawn = zlib.crc32("/".join(map(str, parts)).encode())  # torch looks at the low 32 bits only
    return torch.Generator().manual_seed(drawn)
