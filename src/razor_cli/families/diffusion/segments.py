"""Which rows of a context belong to which tokens: of a name, of the end of a prompt, of each tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from razor_cli.families.diffusion.denoiser import Denoiser


@dataclass(frozen=True, kw_only=True)
class Segment:
    """The rows of one tokenizer in a context: where they begin, and how many there are."""

    tokenizer: Any
    start: int
    length: int

    def last(self, prompt: str, names: Sequence[str]) -> int:
        """Return the row of the last token of a name in the prompt, of the words where it names none."""
        ids = self._ids(prompt)
        for name in names:
            words = self._words(name)
            for at in range(len(ids) - len(words), -1, -1):
                if words and ids[at : at + len(words)] == words:
                    return at + len(words) - 1
        return max(0, len(ids) - 2)  # the end mark stands behind the words

    def every(self, prompt: str, names: Sequence[str]) -> list[int]:
        """Return the rows of all tokens of the names in the prompt, wherever they stand."""
        ids, found = self._ids(prompt), set[int]()
        for name in names:
            words = self._words(name)
            for at in range(len(ids) - len(words) + 1):
                if words and ids[at : at + len(words)] == words:
                    found |= set(range(at, at + len(words)))
        return sorted(found)

    def after(self, prompt: str) -> list[int]:
        """Return the rows of the end mark and of all padding behind it."""
        return list(range(max(0, len(self._ids(prompt)) - 1), self.length))

    def _ids(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, truncation=True, max_length=self.length).input_ids
        return found

    def _words(self, text: str) -> list[int]:
        found: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return found


def segments(denoiser: Denoiser, length: int) -> list[Segment]:
    """Return the parts of contexts of `length` rows: those of the CLIP encoders, and of T5 where it is there.
    Where it is left out its place is zeros, which no solution sees.
    """
    pipeline = denoiser.pipeline
    first = min(pipeline.tokenizer.model_max_length, length)
    found = [Segment(tokenizer=pipeline.tokenizer, start=0, length=first)]
    if getattr(pipeline, "text_encoder_3", None) is not None:
        found.append(Segment(tokenizer=pipeline.tokenizer_3, start=first, length=length - first))
    return found


def concept_rows(
    denoiser: Denoiser, prompts: Sequence[str], names: Sequence[str], length: int, *, ends: bool = False
) -> Tensor:
    """Return which rows of contexts of `length` rows belong to the names [n, length]; with `ends` also the
    end marks of the CLIP encoders and what stands behind them.
    """
    found = torch.zeros(len(prompts), length, dtype=torch.bool)
    for row, prompt in zip(found, prompts, strict=True):
        for part in segments(denoiser, length):
            own = part.every(prompt, names)
            if ends and part.start == 0:
                own = [*own, *part.after(prompt)]
            row[[part.start + at for at in own]] = True
    return found
