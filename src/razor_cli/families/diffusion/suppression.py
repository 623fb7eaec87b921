"""SEOT's embedding reweighting (Li et al., ICLR 2024): what a prompt's context says of some words is taken
out of it while a picture is drawn. No weight changes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from razor_cli.families.diffusion.choices import Gate, PooledVector, Reweighting
from razor_cli.families.diffusion.ito import Ito
from razor_cli.families.diffusion.kinds import Kind
from razor_cli.families.diffusion.segments import segments

if TYPE_CHECKING:
    from razor_cli.families.diffusion.acting import Moment
    from razor_cli.families.diffusion.context import Context
    from razor_cli.families.diffusion.denoiser import Denoiser

Section = tuple[slice, slice]  # rows and channels of a context that one encoder fills


def suppressed(rows: Tensor, alpha: float, form: Reweighting) -> Tensor:
    """Return rows [k, d] without what they share most, by the singular values of the matrix that they are."""
    if form is Reweighting.WEIGHT:
        return alpha * rows
    left, values, right = torch.linalg.svd(rows.float().T, full_matrices=False)
    cut = int(alpha * len(values))
    if form is Reweighting.SOFT:
        values = values * torch.exp(-alpha * values)
    elif form is Reweighting.TOP:
        values = torch.cat([torch.zeros_like(values[:cut]), values[cut:]])
    else:
        values = torch.cat([values[:cut], torch.zeros_like(values[cut:])])
    return ((left * values) @ right).T.to(rows.dtype)


def sections(denoiser: Denoiser, length: int) -> list[Section]:
    """Return what each text encoder fills of contexts of `length` rows."""
    pipeline, parts = denoiser.pipeline, segments(denoiser, length)
    if denoiser.kind is Kind.SD15:
        return [(slice(0, length), slice(None))]
    first = slice(parts[0].start, parts[0].start + parts[0].length)
    one, two = (int(e.config.hidden_size) for e in (pipeline.text_encoder, pipeline.text_encoder_2))
    found = [(first, slice(0, one)), (first, slice(one, one + two))]
    rest = [(slice(p.start, p.start + p.length), slice(None)) for p in parts[1:]]
    return [*found, *rest]


@dataclass(frozen=True, kw_only=True)
class Suppression:
    """Takes the words of a target out of contexts, from a share of the steps on.

    `names` are all names of the target, as prompts write them; `prompts` are others that ask for it. The gate
    says which prompts are touched.
    """

    names: tuple[str, ...]
    prompts: tuple[str, ...] = ()
    alpha: float = 1.0
    form: Reweighting = Reweighting.SOFT
    start: float = 0.2
    gate: Gate = Gate.ORACLE
    pooled: PooledVector = PooledVector.LEAVE
    ito: Ito | None = None

    @property
    def label(self) -> str:
        """Return all settings."""
        return f"seot {[(f.name, getattr(self, f.name)) for f in fields(self)]}"

    @property
    def alone(self) -> bool:
        """Tell whether attention is watched, which the whole net shares."""
        return self.ito is not None

    def present(self, denoiser: Denoiser) -> AbstractContextManager[None]:
        """Put nothing into the net."""
        return nullcontext()

    def touches(self, prompt: str) -> bool:
        """Tell whether a prompt asks for the target, as far as the gate knows."""
        if self.gate is Gate.ALWAYS:
            return True
        if self.gate is Gate.SUBSTRING:
            return self.names[0].lower() in prompt.lower()
        return prompt in self.prompts or any(_spelt(n, apart=True).search(prompt) for n in self.names)

    def spoken(self, prompt: str) -> list[str]:
        """Return the target's names as they stand in a prompt, in whatever spelling: as words of their own,
        or the words that they are parts of where the gate looks for parts.
        """
        apart = self.gate is Gate.ORACLE
        return [m for n in self.names for m in _spelt(n, apart=apart).findall(prompt)]

    def marked(self, denoiser: Denoiser, prompts: Sequence[str], context: Context) -> Tensor:
        """Return for each prompt whether it is touched, and which rows are words of the target and which
        follow the prompt's end [n, 1 + 2 L].
        """
        length = context.tokens.shape[1]
        found = torch.zeros(len(prompts), 1 + 2 * length, dtype=torch.bool)
        for row, prompt in zip(found, prompts, strict=True):
            row[0] = self.touches(prompt)
            spoken = self.spoken(prompt)
            for part in segments(denoiser, length):
                row[[1 + part.start + at for at in part.every(prompt, spoken)]] = True
                row[[1 + length + part.start + at for at in part.after(prompt)]] = True
        return found.to(context.tokens.device)

    def unfound(self, denoiser: Denoiser, prompts: Sequence[str]) -> list[str]:
        """Return the prompts that are touched and in which no row is a word of the target: of these no more
        than the end marks change.
        """
        blank = denoiser.encode_plain([""])
        marks = self.marked(denoiser, prompts, blank)
        words = marks[:, 1 : 1 + blank.tokens.shape[1]].any(dim=1)
        return [p for p, on, any_ in zip(prompts, marks[:, 0], words, strict=True) if on and not any_]

    def rewritten(self, denoiser: Denoiser, context: Context, marks: Tensor, moment: Moment) -> Context:
        """Return the contexts with the target's words taken out of the prompts that are touched."""
        touched = marks[:, 0] & (moment.done.to(marks.device) >= self.start)
        if not touched.any():
            return context
        words, ends = marks[:, 1:].chunk(2, dim=1)
        tokens = context.tokens.clone()
        with torch.no_grad():
            for i in touched.nonzero()[:, 0].tolist():
                for rows, channels in sections(denoiser, tokens.shape[1]):
                    own = (words[i] | ends[i])[rows].nonzero()[:, 0] + rows.start
                    tokens[i, own, channels] = suppressed(tokens[i, own, channels], self.alpha, self.form)
            found = replace(context, tokens=tokens, pooled=self._pooled(denoiser, context, touched))
            if self.ito is not None and moment.latents is not None and self.ito.due(moment, self.start):
                return self.ito.moved(denoiser, context, found, touched, words, ends, moment)
        return found

    def _pooled(self, denoiser: Denoiser, context: Context, touched: Tensor) -> Tensor | None:
        if context.pooled is None or self.pooled is PooledVector.LEAVE:
            return context.pooled
        empty = denoiser.encode([""]).pooled
        return context.pooled if empty is None else torch.where(touched[:, None], empty, context.pooled)

    def during(self, marks: Tensor) -> AbstractContextManager[None]:
        """Hold nothing."""
        return nullcontext()

    def idle(self, marks: Tensor) -> bool:
        """Tell whether no prompt is touched, and the net is run as it is without."""
        return not self.alone and not bool(marks[:, 0].any())


def _spelt(name: str, *, apart: bool) -> re.Pattern[str]:
    """Return a pattern of a name in any spelling: of its words, whatever joins them and in either case. No
    letter or digit stands before or behind it; without `apart` those that do belong to it.
    """
    words = [re.escape(w) for w in re.findall(r"[^\W_]+", name)]
    whole = r"[\W_]+".join(words) if words else re.escape(name)
    more = "" if apart else r"[^\W_]*"
    return re.compile(rf"(?<![^\W_]){more}{whole}{more}(?![^\W_])", re.IGNORECASE)
