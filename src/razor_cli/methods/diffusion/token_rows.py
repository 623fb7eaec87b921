"""Rows of contexts that UCE reads: the last token of what is named, all that follows it, or all there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from razor_cli.methods.diffusion.choices import TokenRows

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.denoiser import Denoiser
    from razor_cli.families.diffusion.family import Diffusion

BATCH = 64  # prompts encoded at once


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Contexts of prompts: token rows [n, L, d], the pooled vector [n, p] where the model reads one."""

    prompts: tuple[str, ...]
    tokens: Tensor
    pooled: Tensor | None


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


def encoded(lab: Lab, prompts: Sequence[str]) -> Encoded:
    """Return the contexts of prompts on the CPU, encoded by the weights as they are."""
    denoiser = cast("Diffusion", lab.family).denoiser
    tokens, pooled = [], []
    for start in range(0, len(prompts), BATCH):
        part = prompts[start : start + BATCH]
        context = denoiser.encode(part)
        tokens.append(context.tokens.float().cpu())
        if context.pooled is not None:
            pooled.append(context.pooled.float().cpu())
        lab.tick(len(part), 0)
        lab.say(f"encoded {start + len(part)} of {len(prompts)} prompts")
    return Encoded(
        prompts=tuple(prompts), tokens=torch.cat(tokens), pooled=torch.cat(pooled) if pooled else None
    )


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


def paired_rows(
    erase: Encoded,
    anchor: Encoded,
    parts: Sequence[Segment],
    which: TokenRows,
    names: Sequence[str],
    word: str,
) -> tuple[Tensor, Tensor]:
    """Return rows [n, d] of what is erased and of what stands in its place, one for one.

    From the subject on, both are cut to the shorter of the two, so that they end together.
    """
    own, other = [], []
    for i, (prompt, instead) in enumerate(zip(erase.prompts, anchor.prompts, strict=True)):
        for part in parts:
            a, b, count = 0, 0, part.length
            if which is not TokenRows.ALL:
                a, b = part.last(prompt, names), part.last(instead, [word] if word else [])
                count = 1 if which is TokenRows.LAST else part.length - max(a, b)
            own.append(erase.tokens[i, part.start + a : part.start + a + count])
            other.append(anchor.tokens[i, part.start + b : part.start + b + count])
    return torch.cat(own), torch.cat(other)


def kept_rows(kept: Encoded, parts: Sequence[Segment], which: TokenRows) -> Tensor:
    """Return the rows [n, d] of prompts whose outputs stay."""
    return torch.cat([*_kept(kept, parts, which)])


def _kept(kept: Encoded, parts: Sequence[Segment], which: TokenRows) -> Iterable[Tensor]:
    for part in parts:
        rows = kept.tokens[:, part.start : part.start + part.length]
        if which is TokenRows.ALL:
            yield rows.reshape(-1, rows.shape[-1])
            continue
        at = [part.last(p, []) for p in kept.prompts]
        if which is TokenRows.LAST:
            yield rows[torch.arange(len(at)), torch.tensor(at)]
        else:
            yield torch.cat([row[i:] for row, i in zip(rows, at, strict=True)])
