"""Losses of how far an edited LLaVA has moved from the unedited one: the logits of what that answered to
neutral questions (RAZOR eq. 13), and the tokens of pictures. Both are 0 at the unedited weights, and so are
their gradients.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import Change, Named, Tick
from razor_cli.data.sets import Pairs
from razor_cli.engine.cache import content_key
from razor_cli.engine.lab import unedited
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.losses_answer import chunks, feature_gradient, images_of

if TYPE_CHECKING:
    from razor_cli.families.llava.opened import OpenedLlava

NEUTRAL = ("What's the content of the image?", "What is unusual about this image?")
LONGEST = 16  # tokens of an answer of the unedited model that is held on to
SHOWN = 64  # pictures that neutral questions are asked about, the first of a set


@dataclass(frozen=True, kw_only=True)
class _Drift:
    """A loss against the unedited weights."""

    family: OpenedLlava
    base: Change | None = None  # None: the weights as the files have them
    cache: Any = None  # where answers of the unedited model are kept, if anywhere
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)  # of the unedited model, by part

    @property
    def direction(self) -> Direction:
        """Return up, which is away from the unedited model."""
        return Direction.UP

    @property
    def drifts(self) -> bool:
        """Tell that it is no similarity of pairs."""
        return False

    def unedited(self) -> AbstractContextManager[object]:
        """Hold the unedited weights."""
        return self.family.at_base() if self.base is None else self.base.held(self.family)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class MismatchLoss(_Drift):
    """Mean squared change of the logits of the unedited model's own greedy answers to neutral questions about
    pictures: over answers the mean of each one's mean over tokens and vocabulary (eq. 13, which has sums).
    """

    first: bool = False  # of each answer's first token alone

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        said = {"name": "answer_logits", "questions": NEUTRAL, "longest": LONGEST, "shown": SHOWN}
        return said | ({"tokens": "first"} if self.first else {})

    def anchored(self, base: Change, cache: Any = None) -> MismatchLoss:
        """Return the loss against the answers under `base`."""
        return replace(self, base=base, cache=cache, _kept={})

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the mean over batches of `size` pictures of the batch gradients for `params`."""
        part = part.head(SHOWN)
        chunk = min(chunk, self.family.at_once)
        answers, before = self._before(part, size, chunk, tick)
        many, most = len(NEUTRAL), 1 if self.first else None

        def term(features: list[Tensor], first: int) -> Tensor:
            rows = slice(first * many, (first + len(features)) * many)
            now = self.family.answerer.logits(features, _asked(len(features)), answers[rows])
            drifts = [
                ((n[:most] - b[:most].to(n)) ** 2).mean() for n, b in zip(now, before[rows], strict=True)
            ]
            return torch.stack(drifts).mean()

        return feature_gradient(self.family, part, size, params, tick, term, chunk)

    def _before(self, part: Pairs, size: int, chunk: int, tick: Tick) -> tuple[list[str], list[Tensor]]:
        """Return the unedited model's answers about each picture, and its logits of them. On disk are the
        answers alone: logits are those of pictures taken together as they are later, so that rounding is the
        same, and how many that are is up to the memory there is.
        """
        key = f"{part.fingerprint()} {size} {chunk}"
        if key not in self._kept:
            logits: list[Tensor] = []

            def compute() -> Named:
                said, found = self._said(part, size, chunk, tick)
                logits.extend(found)
                return {"answers": torch.frombuffer(bytearray(json.dumps(said).encode()), dtype=torch.uint8)}

            if self.cache is None:
                packed = compute()
            else:
                asked = {"set": part.fingerprint(), "before": dict(self.key) | {"tokens": "all"}}
                name = unedited(self.family) | asked  # type: ignore[arg-type]
                packed, _ = self.cache.get(content_key(name), compute)
            answers: list[str] = json.loads(bytes(packed["answers"].tolist()))
            self._kept[key] = answers, logits or self._said(part, size, chunk, tick, answers)[1]
        kept: tuple[list[str], list[Tensor]] = self._kept[key]
        return kept

    @torch.no_grad()
    def _said(
        self, part: Pairs, size: int, chunk: int, tick: Tick, known: Sequence[str] | None = None
    ) -> tuple[list[str], list[Tensor]]:
        """Ask the unedited model, or give it what it is `known` to answer. Logits are kept in the dtype that
        they come in, so that nothing is lost.
        """
        answers: list[str] = []
        logits: list[Tensor] = []
        answerer, dtype = self.family.answerer, self.family.disk.dtype
        with self.unedited():
            for rows in chunks(len(part), size, chunk):
                images = images_of(self.family, part, rows)
                shown = answerer.features(answerer.preprocess(images))
                asked, first = _asked(len(shown)), len(answers)
                if known is None:
                    answers += answerer.answers(shown, asked, LONGEST)
                else:
                    answers += known[first : first + len(asked)]
                logits += [row.to("cpu", dtype) for row in answerer.logits(shown, asked, answers[first:])]
                tick(len(shown), 0)
        return answers, logits


@dataclass(frozen=True, kw_only=True)
class FeatureLoss(_Drift):
    """Mean squared change of the tokens of pictures behind the projector: over pictures the mean of each
    one's mean over tokens and their numbers.
    """

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        return {"name": "features"}

    def anchored(self, base: Change, cache: Any = None) -> FeatureLoss:
        """Return the loss against the tokens under `base`."""
        return replace(self, base=base, _kept={})  # looking at pictures again costs less than reading it

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the mean over batches of `size` pictures of the batch gradients for `params`."""
        chunk = min(chunk, self.family.at_once)
        before = self._before(part, size, chunk, tick)

        def term(features: list[Tensor], first: int) -> Tensor:
            rows = before[first : first + len(features)]
            return torch.stack(
                [((f - b.to(f)) ** 2).mean() for f, b in zip(features, rows, strict=True)]
            ).mean()

        return feature_gradient(self.family, part, size, params, tick, term, chunk)

    @torch.no_grad()
    def _before(self, part: Pairs, size: int, chunk: int, tick: Tick) -> list[Tensor]:
        """Return the unedited model's tokens of each picture."""
        key = f"{part.fingerprint()} {size} {chunk}"  # taken together as they are later: rounding is the same
        if key not in self._kept:
            found: list[Tensor] = []
            looker = self.family.looker
            with self.unedited():
                for rows in chunks(len(part), size, chunk):
                    images = images_of(self.family, part, rows)
                    found += [f.cpu() for f in looker.features(looker.preprocess(images))]
                    tick(len(images), 0)
            self._kept[key] = found
        kept: list[Tensor] = self._kept[key]
        return kept


def _asked(pictures: int) -> list[Question]:
    """Return every neutral question about each of some pictures."""
    return [Question(row, text) for row in range(pictures) for text in NEUTRAL]
