"""The scoreboard of a step search on a model that draws: what prompts mean first, pictures where that leaves
something open, as many as one search may look at.

Validation shots and the judges of searches only: no seed, no template and no judge of the evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from razor_cli.contract.components import Component, swapped
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Metrics
from razor_cli.data.shots import DrawnSets, Shots
from razor_cli.data.wording import CELL, CROSSED
from razor_cli.engine.cache import TensorCache
from razor_cli.families.diffusion.choices import GOALS
from razor_cli.families.diffusion.drawer import Drawer
from razor_cli.families.diffusion.panel import Panel, margins, search_panel
from razor_cli.families.diffusion.protocol import Protocol
from razor_cli.families.diffusion.settings import DrawnMetrics
from razor_cli.families.diffusion.text_space import TextSpace

OF_TARGET = ("recognised", "sure", "spoilt")  # what pictures of the target tell
FULL = (
    "search: it looked at all pictures it may (metrics.search_pictures); later trials were judged by "
    "contexts of "
    "prompts, and none of them counts as having forgotten more than was seen"
)
NO_JUDGE = "search: no judge of its own, so trials were judged by contexts of prompts alone"
TOO_FEW = (
    "search: metrics.search_pictures is fewer than the validation pictures, so trials were judged by "
    "contexts of "
    "prompts alone"
)
BEST = {"recognised": 0.0, "sure": -100.0, "spoilt": 0.0, "ira": 100.0, "cra": 100.0, "near": 100.0}


class DrawnBoard:
    """Validation prompts and shots; `trial` scores weights that are held for it alone.

    `recognised`: shots of the target that the judge takes for it, in %; `sure`: how much surer it is of the
    target than of anything else, in %; `spoilt`: shots of the target that show neither it nor the rest of
    what was asked for, in %; `ira`, `cra` and `near` as the exam has them. `text_kept` and `text_gone` as in
    text_space.py.
    """

    def __init__(
        self,
        family: Drawer,
        sets: DrawnSets,
        settings: DrawnMetrics,
        cost: Cost,
        *,
        fast: bool,
        cache: TensorCache | None = None,
    ) -> None:
        self.family, self.settings, self.cost, self.fast, self.goals = family, settings, cost, fast, GOALS
        self.text = TextSpace(denoiser=family.denoiser, sets=sets)
        self.store = family.pictures(cache if fast else None)
        panel = search_panel(sets, settings, family.denoiser.device)
        self.sides = [] if panel is None else _sides(sets, panel)
        self.notes: list[str] = [] if panel else [NO_JUDGE]
        if sum(len(s.panel.shots) for s in self.sides) > settings.search_pictures:
            self.sides, self.notes = [], [TOO_FEW]  # not even the unedited model could be looked at
        self._seen: dict[tuple[str, tuple[str, ...]], dict[str, float]] = {}  # by weights and side
        self.base: Metrics = self._metrics(None)
        self.current = self.base

    def rescore(self) -> Metrics:
        """Return the metrics of the weights as they are now."""
        return self._metrics(None)

    def prepare(self, components: Sequence[Component]) -> None:
        """Do nothing: what is drawn depends on all weights, and no activation outlives a trial."""

    def commit(self, components: Sequence[Component], *, wanted: Collection[str] | None = None) -> Metrics:
        """Take the weights as they are now for granted; what is not `wanted` stays as it was seen, and is
        not returned.
        """
        found = self._metrics(None if wanted is None else set(wanted))
        self.current = {**self.current, **found}
        return found

    def trial(
        self,
        values: Mapping[str, Tensor],
        components: Sequence[Component],
        *,
        wanted: Collection[str] | None = None,
        lost: Callable[[Metrics], bool] | None = None,
    ) -> Metrics:
        """Return metrics with `values` in place of the named parameters, which come back to the bit.

        `lost` is asked after the contexts of prompts, and once more after the pictures of the others, with
        all that was not looked at as good as it can be; and nothing is drawn that is not `wanted`. The slow
        engine draws again what it has seen already.
        """
        self.cost.evaluations += 1
        with torch.no_grad(), swapped(self.family, values):
            return self._metrics(None if wanted is None else set(wanted), lost)

    def _metrics(
        self, wanted: set[str] | None, lost: Callable[[Metrics], bool] | None = None
    ) -> dict[str, float]:
        found: dict[str, float] = self.text.metrics()
        for side in self.sides:
            if wanted is not None and not wanted & set(side.names):
                continue
            hopeful = found | {n: BEST[n] for s in self.sides for n in s.names if n not in found}
            if lost is not None and lost(hopeful):
                return hopeful
            found |= self._pictures(side, found)
        return found

    def _pictures(self, side: Side, text: Metrics) -> dict[str, float]:
        """Return what the pictures of one side tell under the weights as they are: drawn, or remembered."""
        key, shots = (self.family.denoiser.live_hash(), side.names), side.panel.shots
        if key in self._seen and self.fast:
            return self._seen[key]
        if key not in self._seen:
            if self.cost.drawn + len(shots) > self.settings.search_pictures:
                return self._unseen(side, text)
            self.cost.drawn += len(shots)
        pictures = self.store.pictures(
            [s.prompt for s in shots], [s.seed for s in shots], self.settings.sampler
        )
        self._seen[key] = side.metrics(pictures)
        return self._seen[key]

    def _unseen(self, side: Side, text: Metrics) -> dict[str, float]:
        """Return what is taken for the pictures of one side when the search has looked at all it may.

        What must stay is as it was when weights were last taken for granted. What must go is that too, but
        only for weights under which prompts lie further from the target; for others it is back, as nobody saw
        that it is not.
        """
        if FULL not in self.notes:
            self.notes.append(FULL)
        further = text.get("text_gone", 0.0) < self.current.get("text_gone", 0.0)
        known = self.current if side.names[0] not in OF_TARGET or further else self.base
        return {n: known[n] for n in side.names}


@dataclass(frozen=True, kw_only=True)
class Side:
    """The shots of the target, or the others: who judges them, and which metrics they tell."""

    panel: Panel
    protocol: Protocol
    names: tuple[str, ...]

    def metrics(self, pictures: Tensor) -> dict[str, float]:
        """Return the metrics of pictures [n, 3, H, W] of all shots."""
        said = {kind: found.numpy() for kind, found in self.panel.answers(pictures).items()}
        every = np.ones(len(self.panel.shots), dtype=bool)
        if self.names == OF_TARGET:
            axis = self.protocol.sets.axis
            kinds = CROSSED if axis == CELL else (axis,)
            each = [margins(self.panel.judges[k], pictures, self.panel.wanted[k]) for k in kinds]
            margin = torch.stack(each).amin(dim=0)
            hits = self.protocol.hits(said, axis)
            lost = ~hits & ~self.protocol.valid(said)
            shares = (hits.mean(), margin.mean(), lost.mean())
            return {name: 100 * float(share) for name, share in zip(OF_TARGET, shares, strict=True)}
        means = {n: self.protocol.macro(said, self.protocol.pools()[n], every) for n in self.names}
        return {n: 100 * float(m.weights @ m.values) for n, m in means.items() if m is not None}


def _sides(sets: DrawnSets, panel: Panel) -> list[Side]:
    """Return the others, which rule a trial out, and then what shows the target; each where there is any."""
    sides = []
    gone = set(sets.forget_names)
    for own in (False, True):
        shots = Shots(s for s in panel.shots if (s.shows(sets.axis) in gone) is own)
        if not shots:
            continue
        part = Panel(shots=shots, judges=panel.judges)
        wanted = {kind: places.numpy() for kind, places in part.wanted.items()}
        protocol = Protocol(sets=sets, shots=shots, wanted=wanted)
        every = np.ones(len(shots), dtype=bool)
        names = (
            OF_TARGET
            if own
            else tuple(
                n for n, kinds in protocol.pools().items() if protocol.macro(wanted, kinds, every) is not None
            )
        )
        if names:
            sides.append(Side(panel=part, protocol=protocol, names=names))
    return sides
