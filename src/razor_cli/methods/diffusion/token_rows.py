"""Rows of contexts that UCE reads: the last token of what is named, all that follows it, or all there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from razor_cli.families.diffusion.segments import Segment
from razor_cli.methods.diffusion.choices import TokenRows

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab
    from razor_cli.families.diffusion.family import Diffusion

BATCH = 64  # prompts encoded at once


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """Contexts of prompts: token rows [n, L, d], the pooled vector [n, p] where the model reads one."""

    prompts: tuple[str, ...]
    tokens: Tensor
    pooled: Tensor | None


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
