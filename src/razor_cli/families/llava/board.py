"""The scoreboard of a step search on a model that answers: does it still tell the name, does it still tell
all others? Beside that the view of the CLIP, whose forgetting need not be the model's.

Validation pictures only, and no answer is generated for a trial: the name is given, and the model's own
choice compared with it token by token (forced.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from razor_cli.contract.components import Component, swapped
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Metrics
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.board import DualBoard
from razor_cli.families.llava.answerer import Pixels, Question
from razor_cli.families.llava.choices import GOALS
from razor_cli.families.llava.forced import Trial, margins, trials_of
from razor_cli.families.llava.naming import further, of_names, prompts_for
from razor_cli.families.llava.opened import OpenedLlava
from razor_cli.families.llava.settings import AskedMetrics
from razor_cli.families.llava.unknown import refuse_unknown

OWN, OTHERS, ANSWERS = ("fa", "sure"), ("retain_fa",), ("answers",)  # metrics by whose pictures tell them
ASKED = frozenset({*OWN, *OTHERS, *ANSWERS})
BEST = {"fa": 0.0, "sure": 0.0, "retain_fa": 100.0, "answers": 100.0}


@dataclass(frozen=True)
class Side:
    """Some of the pictures, prepared, with what is asked about them."""

    pixels: Pixels
    trials: Sequence[Trial]


class AskedBoard:
    """Validation pictures and questions; `trial` scores weights that are held for it alone.

    `fa`: questions for the name of the target's pictures that are answered with it, %; `sure`: how much surer
    the model is of the name than of anything else, mean over these questions in nats, where it is not: 0;
    `retain_fa`: as `fa` of the other names; `answers`: right answers about further pictures, %. The others
    are those of the CLIP's board, and cost a look of its own.
    """

    def __init__(
        self, family: OpenedLlava, sets: ConceptSets, settings: AskedMetrics, cost: Cost, *, fast: bool
    ) -> None:
        self.family, self.sets, self.settings, self.cost, self.fast = family, sets, settings, cost, fast
        self.goals = GOALS
        self.notes: list[str] = []
        self.dual = DualBoard(family.aligned(sets), sets, cost, fast=fast)
        self._pending: list[Component] = []  # committed, and not yet seen by the CLIP's board
        self.own, self.others, self.further = self._sides()
        self.base: Metrics = self._asked(None) | dict(self.dual.base)
        refuse_unknown(self.base["fa"], len(self.own.trials), settings, sets.target, "validation")
        self.current = self.base

    def trial(
        self,
        values: Mapping[str, Tensor],
        components: Sequence[Component],
        *,
        wanted: Collection[str] | None = None,
        lost: Callable[[Metrics], bool] | None = None,
    ) -> Metrics:
        """Return metrics with `values` in place of the named parameters, which come back to the bit.

        Only what is `wanted` is looked at. The fast engine asks `lost` when half of the others' pictures were
        looked at, when all were, and when the target's were, with all else as good as it can be.
        """
        asks = self._wants(wanted, ASKED)
        looks = self._wants(wanted, self.dual.base.keys())
        hopeful = dict(self.dual.base) | {n: v for n, v in BEST.items() if n in self.base}
        ruled_out = None if lost is None or not self.fast else lambda m: lost({**hopeful, **m})
        found: dict[str, float] = {}
        if asks:
            with torch.no_grad(), swapped(self.family, values):
                found = self._asked(asks, ruled_out)
            if ruled_out and ruled_out(found):
                self.cost.evaluations += 1
                return {**hopeful, **found}
        if not looks:
            self.cost.evaluations += 1
            return found
        self._catch_up()
        self.dual.prepare(components)
        half_way = None if ruled_out is None else lambda m: ruled_out({**found, **m})
        return {**found, **self.dual.trial(values, components, wanted=looks, lost=half_way)}

    def commit(self, components: Sequence[Component], *, wanted: Collection[str] | None = None) -> Metrics:
        """Take the weights as they are now for granted; what is not `wanted` stays as it was seen, and is
        not returned.
        """
        self._pending += components
        found = self._asked(self._wants(wanted, ASKED))
        if self._wants(wanted, self.dual.base.keys()):
            self._catch_up()
            found |= self.dual.current
        self.current = {**self.current, **found}
        return found

    def prepare(self, components: Sequence[Component]) -> None:
        """Do nothing: the CLIP's board gets ready when it is looked at."""

    def rescore(self) -> Metrics:
        """Return the metrics of the weights as they are now, everything computed anew."""
        return self._asked(None) | dict(self.dual.rescore())

    def _catch_up(self) -> None:
        """Let the CLIP's board take for granted what was committed since it was looked at."""
        if self._pending:
            components, self._pending = self._pending, []
            self.dual.commit(components)

    @staticmethod
    def _wants(wanted: Collection[str] | None, names: Collection[str]) -> set[str]:
        return set(names) if wanted is None else set(names) & set(wanted)

    @torch.no_grad()
    def _asked(
        self, wanted: set[str] | None, lost: Callable[[Metrics], bool] | None = None
    ) -> dict[str, float]:
        """Return what answers tell under the weights as they are; those that rule a trial out come first."""
        found: dict[str, float] = {}
        asks = ASKED if wanted is None else wanted
        if asks & set(OTHERS) and self.others:
            told: list[Tensor] = []
            total = sum(len(side.trials) for side in self.others)
            for side in self.others:
                told.append(self._margins(side) > 0)
                rest = total - sum(map(len, told))
                found["retain_fa"] = 100 * (sum(int(t.sum()) for t in told) + rest) / total
                if lost is not None and lost(found):
                    return found
        if asks & set(OWN):
            sure = self._margins(self.own)
            found["fa"] = _told(sure)
            found["sure"] = float(sure.clamp(min=0).mean())
        if asks & set(ANSWERS) and self.further:
            if lost is not None and lost(found):
                return found
            found["answers"] = _told(self._margins(self.further))
        return found

    def _margins(self, side: Side) -> Tensor:
        self.cost.forwards += len(side.pixels)
        answerer = self.family.answerer
        return margins(answerer, answerer.features(side.pixels), side.trials, self.settings.batch)

    @torch.no_grad()
    def _sides(self) -> tuple[Side, tuple[Side, ...], Side | None]:
        """Return the target's pictures, those of other names in two halves, and further ones."""
        sets, s = self.sets, self.settings
        judged, names = sets.validation, sets.retain_names
        own = of_names(judged.forget, sets.forget_names, -(-s.search_images // len(sets.forget_names)))
        others = of_names(judged.retain, names, s.search_retain_images)
        middle = -(-len(others) // 2)
        prompts = prompts_for(s, sets.domain)[: s.search_prompts]
        rest = further(judged.retain, set(names), s.search_answers)
        halves = [_part(others, 0, middle), _part(others, middle, None)]
        return (
            self._side(own, prompts),
            tuple(self._side(half, prompts) for half in halves if len(half)),
            self._side(rest, None) if len(rest) else None,
        )

    def _side(self, pairs: Pairs, prompts: Sequence[str] | None) -> Side:
        """Return pictures with these questions each; without any with the first of their domain."""
        answerer = self.family.answerer
        pixels = answerer.preprocess(pairs.load())
        questions, names = [], []
        for row, picture in enumerate(pairs.pictures):
            for text in prompts or prompts_for(self.settings, picture.domain)[:1]:
                questions.append(Question(row, text))
                names.append(picture.concept.replace("_", " "))
        features = answerer.features(pixels)
        return Side(pixels, trials_of(answerer, features, questions, names, self.settings.batch))


def _told(margins: Tensor) -> float:
    """Return the percent of trials in which greedy decoding says what it should."""
    return 100 * int((margins > 0).sum()) / len(margins)


def _part(pairs: Pairs, start: int, stop: int | None) -> Pairs:
    return replace(pairs, pictures=pairs.pictures[start:stop])
