"""The protocol: which pictures count for UA, IRA and CRA, by what a judge must have seen in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from razor_cli.data.shots import BENCHMARK, DrawnSets, Shots
from razor_cli.data.wording import CELL, CROSSED
from razor_cli.metrics import stats
from razor_cli.metrics.stats import Interval

REJECT = -1  # what a judge says of a picture that shows none of its names
TEMPLATES = "templates"  # all templates but the benchmark's, together

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]
Said = Mapping[str, NDArray[np.int64]]  # kind -> what its judge says of every shot


@dataclass(frozen=True)
class Mean:
    """A weighted mean over pictures: rows of the shots, a value in [0, 1] for each, weights that
    add up to 1.
    """

    rows: NDArray[np.int64]
    values: Floats
    weights: Floats

    def interval(self) -> Interval:
        """Return the mean in % with Wilson's interval over the effective number of pictures."""
        effective = 1 / float((self.weights**2).sum())  # = n for names of equal size
        share = min(1.0, float(self.weights @ self.values))
        found = stats.wilson(share * effective, effective).scaled(100)
        return Interval(found.value, found.low, found.high, len(self.rows))


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """Which shots count for which number, and what should be seen in them.

    `wanted` holds for each kind the place [n] of what each shot shows among its judge's labels, negative
    where it shows nothing of the kind.
    """

    sets: DrawnSets
    shots: Shots
    wanted: Said
    prefix: str = ""  # of every variant: names a judge that is no classifier
    names: Mapping[str, Sequence[str | None]] = field(init=False)
    own: Bools = field(init=False)  # shots of what goes
    templates: Sequence[str] = field(init=False)

    def __post_init__(self) -> None:
        shots = self.shots
        names = {kind: [s.shows(kind) for s in shots] for kind in {*self.wanted, self.sets.axis}}
        gone = set(self.sets.forget_names)
        own = np.array([s.shows(self.sets.axis) in gone for s in shots], dtype=bool)
        for name, value in (("names", names), ("own", own), ("templates", [s.template for s in shots])):
            object.__setattr__(self, name, value)

    def groups(self) -> dict[str, Bools]:
        """Return the shots [n] of each variant: the benchmark's template, all others, and each of these;
        where judges were tested on unseen pictures of some names only, those of the benchmark by that.
        """
        known = dict.fromkeys(self.templates)
        found = {BENCHMARK: self._of(BENCHMARK)} if BENCHMARK in known else {}
        others = [t for t in known if t != BENCHMARK]
        if others:
            found[TEMPLATES] = ~self._of(BENCHMARK)
        found |= {template: self._of(template) for template in others}
        spared = self._spared()
        if BENCHMARK in found and 0 < spared[found[BENCHMARK]].sum() < found[BENCHMARK].sum():
            found[f"{BENCHMARK}/spared"] = found[BENCHMARK] & spared
            found[f"{BENCHMARK}/unspared"] = found[BENCHMARK] & ~spared
        return found

    def _of(self, template: str) -> Bools:
        return np.array([t == template for t in self.templates], dtype=bool)

    def _spared(self) -> Bools:
        """Return the shots [n] all of whose names have a picture that judges were tested on unseen."""
        tested = {kind: set(names) for kind, names in self.sets.spared.items()}
        return np.array([all(n in tested.get(k, {n}) for k, n in s.labels) for s in self.shots], dtype=bool)

    def hits(self, said: Said, kind: str) -> Bools:
        """Return in which shots [n] the judge of a kind finds what they should show; of a cell those of both
        its kinds.
        """
        if kind == CELL:
            both: Bools = np.logical_and.reduce([self.hits(said, each) for each in CROSSED])
            return both
        return said[kind] == self.wanted[kind]

    def unlearned(self, said: Said) -> Bools:
        """Return which shots [n] are not taken for what they name of the axis."""
        return ~self.hits(said, self.sets.axis)

    def valid(self, said: Said) -> Bools:
        """Return which of them still show what else was asked for; where nothing else was, something that the
        judge of the axis knows. Of a cell, object or style is still there.
        """
        found = self.unlearned(said)
        if self.sets.axis == CELL:
            either: Bools = np.logical_or.reduce([self.hits(said, each) for each in CROSSED])
            return found & either
        others = np.zeros(len(found), dtype=bool)
        for kind in self.wanted:
            if kind != self.sets.axis:
                asked = self.wanted[kind] >= 0
                found &= ~asked | self.hits(said, kind)
                others |= asked
        return found & (others | (said[self.sets.axis] != REJECT))

    def rejects(self, said: Said) -> tuple[Bools, Bools]:
        """Return which shots [n] a judge of the axis was asked about, and in which it finds nothing that it
        knows; of a cell, neither of its two.
        """
        kinds = CROSSED if self.sets.axis == CELL else (self.sets.axis,)
        asked: Bools = np.logical_and.reduce([self.wanted[kind] >= 0 for kind in kinds])
        unknown: Bools = np.logical_and.reduce([said[kind] == REJECT for kind in kinds])
        return asked, asked & unknown

    def macro(self, said: Said, kinds: Mapping[str, Sequence[str]], among: Bools) -> Mean | None:
        """Return the accuracy on names of some kinds over the shots `among` [n]: kinds weigh the same, and so
        do the names of a kind; None where no shot shows any.
        """
        weights, sums = np.zeros(len(among)), np.zeros(len(among))
        present = {
            kind: [rows for n in names if len(rows := self._showing(kind, n, among))]
            for kind, names in kinds.items()
        }
        present = {kind: found for kind, found in present.items() if found}
        for kind, found in present.items():
            hits = self.hits(said, kind)
            for rows in found:
                share = 1 / (len(present) * len(found) * len(rows))
                weights[rows] += share
                sums[rows] += share * hits[rows]
        rows = weights.nonzero()[0]
        return Mean(rows, sums[rows] / weights[rows], weights[rows]) if len(rows) else None

    def pools(self) -> dict[str, Mapping[str, Sequence[str]]]:
        """Return whose accuracy is IRA, CRA and that of the nearest names: names by kind."""
        axis = self.sets.axis
        return {
            "ira": {axis: self.sets.retain_names},
            "cra": {kind: self.sets.labels[kind] for kind in self.wanted if kind != axis},
            "near": {axis: self.sets.near},
        }

    def _showing(self, kind: str, name: str, among: Bools) -> NDArray[np.int64]:
        return np.flatnonzero(among & np.array([n == name for n in self.names[kind]], dtype=bool))
