"""The toy family's sets: drawings of words, listed by word and seed."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from toy_net import WORDS, judged

from razor_cli.data.choices import DataKind
from razor_cli.errors import ConfigError


class Part(tuple[tuple[int, int], ...]):
    def head(self, count: int | None) -> Part:
        return Part(self[:count])

    def sampled(self, count: int | None, seed: int) -> Part:
        return self if count is None else Part(random.Random(seed).sample(self, min(count, len(self))))

    def drawn(self, seed: int) -> Part:
        return Part(random.Random(seed).sample(self, len(self)))

    def captioned(self, caption: str) -> Part:
        return self  # words are the captions

    def widest(self, count: int) -> Part:
        return self.head(count)

    def fingerprint(self) -> str:
        return str(self)


class Sets:
    notes, steps = ("drawings of words",), ()
    called = ""

    def __init__(self, target: str, n: int) -> None:
        self.target, self.word = target, WORDS.index(target)
        words = {"forget": [self.word] * n, "retain": [w for w in range(len(WORDS)) if w != self.word] * n}
        splits = {"": 1000, "validation_": 2000, "evaluation_": 3000}
        self.parts = {
            s + k: Part((w, at + i) for i, w in enumerate(ws))
            for s, at in splits.items()
            for k, ws in words.items()
        }
        self.forget, self.retain = self.parts["forget"], self.parts["retain"]

    def fingerprints(self) -> dict[str, str]:
        return {name: part.fingerprint() for name, part in self.parts.items()}

    def sizes(self) -> dict[str, int]:
        return {name: len(part) for name, part in self.parts.items()}

    def mended(self) -> list[str]:
        return []

    def record(self) -> dict[str, list[str]]:
        return {name: [f"{WORDS[w]}/{seed}" for w, seed in part] for name, part in self.parts.items()}

    def hits(self, net: nn.Module, split: str) -> tuple[Tensor, Tensor, Tensor]:
        """Return whether the target is seen, how surely, and whether each other word is."""
        own, rest = (judged(net, self.parts[f"{split}_{kind}"]) for kind in ("forget", "retain"))
        right = rest.argmax(1) == torch.tensor([w for w, _ in self.parts[f"{split}_retain"]])
        return (own.argmax(1) == self.word).float(), own[:, self.word], right.float()


@dataclass(frozen=True, kw_only=True)
class ToyData:
    kind: ClassVar[DataKind] = DataKind.STANDIN
    listed_beforehand: ClassVar[bool] = True
    n: int = 8  # drawings of each word in each set
    at_most = property(lambda self: {**Sets(WORDS[0], self.n).sizes(), "suite": 0})

    def label(self, pictures: str) -> str:
        return "drawings"

    def problems(self, ask: Any) -> list[ConfigError]:
        return (
            []
            if ask.target in WORDS
            else [ConfigError("target is no word", allowed=", ".join(WORDS), found=ask.target)]
        )

    def sets(self, ask: Any) -> Sets:
        return Sets(ask.target, self.n)


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """Settings of the exam: there is nothing to set."""

    def judge_hashes(self, sets: Sets) -> dict[str, str]:
        return {}
