"""UA, IRA, CRA and what goes with them, from what judges said of the pictures: arrays in, scores out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from razor_cli.data.shots import BENCHMARK
from razor_cli.families.diffusion.protocol import Bools, Protocol, Said
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

ALL = "all"  # the pool of CRA that pictures of the target are in, too
RECOVERY_FLOOR = 5.0  # points of forgetting below which "how much came back" has no meaning
STATES = {"base": "the unedited model", "base_q": "the unedited model under the same quantization"}


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """The scores of one state: what judges said of its pictures, and of those of the states before it."""

    protocol: Protocol
    said: Said
    against: Mapping[str, Said | None] = field(default_factory=dict)  # base, base_q
    seed: int = 0
    draws: int = 2000  # of a bootstrap

    def forgetting(self) -> Iterator[Score]:
        """Yield UA, valid UA and rejects of the pictures of what goes, with drops since the states before."""
        p = self.protocol
        readings = {"ua": p.unlearned, "ua_valid": p.valid}
        for name, group in p.groups().items():
            if not (group & p.own).any():
                continue
            for metric, reading in readings.items():
                yield from self._share(metric, name, group & p.own, reading)
            for pool, among in (("", group & p.own), ("/others", group & ~p.own)):
                asked, rejected = p.rejects(self.said)
                if (known := int((among & asked).sum())) > 0:
                    found = stats.wilson(float((among & rejected).sum()), known).scaled(100)
                    yield scored("rejects", p.prefix + name + pool, found)

    def gone(self) -> Iterator[Score]:
        """Yield UA of each name that goes, where several do; by the benchmark's template."""
        p = self.protocol
        names = p.sets.forget_names
        groups = p.groups()
        if len(names) == 1 or BENCHMARK not in groups:
            return
        lost = p.unlearned(self.said)
        for name in names:
            rows = groups[BENCHMARK] & np.array([n == name for n in p.names[p.sets.axis]], dtype=bool)
            if rows.any():
                share = stats.wilson(float(lost[rows].sum()), int(rows.sum())).scaled(100)
                yield scored("ua_name", p.prefix + name, share)

    def _share(
        self, metric: str, name: str, among: Bools, reading: Callable[[Said], Bools]
    ) -> Iterator[Score]:
        rows, variant = np.flatnonzero(among), self.protocol.prefix + name
        now = reading(self.said)[rows]
        yield scored(metric, variant, stats.wilson(float(now.sum()), len(now)).scaled(100))
        before = {n: None if o is None else reading(o)[rows] for n, o in self.against.items()}
        yield from self._drops(f"{metric}_drop", variant, now, before)

    def keeping(self) -> Iterator[Score]:
        """Yield IRA, CRA with both pools, and accuracy on the nearest names, with drops since the states
        before.
        """
        p = self.protocol
        every = np.ones(len(p.own), dtype=bool)
        pools = (
            ("ira", "", ~p.own, f"no picture shows another {p.sets.axis}"),
            ("cra", "", ~p.own, "no picture without the target shows another kind of name"),
            ("cra", f"/{ALL}", every, "no picture shows another kind of name"),
            ("near", "", ~p.own, "no name near the target is drawn (data.retain_near)"),
        )
        for name, group in p.groups().items():
            for metric, pool, among, reason in pools:
                variant, kinds = p.prefix + name + pool, p.pools()[metric]
                now = p.macro(self.said, kinds, group & among)
                if now is None:
                    yield missing(metric, variant, reason)
                    continue
                yield scored(metric, variant, now.interval())
                before = {n: self._before(o, kinds, group & among) for n, o in self.against.items()}
                yield from self._drops(f"{metric}_drop", variant, now.values, before, now.weights)

    def _before(
        self, said: Said | None, kinds: Mapping[str, Sequence[str]], among: Bools
    ) -> NDArray[np.float64] | None:
        found = None if said is None else self.protocol.macro(said, kinds, among)
        return None if found is None else found.values

    def names(self, *, each: bool = True) -> Iterator[Score]:
        """Yield the largest drop of one other name (among equal ones that of the name now found least), and
        with `each` the accuracy on every other name; templates together.
        """
        p, base = self.protocol, self.against.get("base")
        shown = np.array([n or "" for n in p.names[p.sets.axis]])
        rows = {n: np.flatnonzero(shown == n) for n in p.sets.retain_names if (shown == n).any()}
        now = p.hits(self.said, p.sets.axis)
        if each:
            for name, own in rows.items():
                share = stats.wilson(float(now[own].sum()), len(own)).scaled(100)
                yield scored("ira_name", p.prefix + name, share)
        if base is None or not rows:
            reason = f"no picture shows another {p.sets.axis}" if not rows else _no_reference("base")
            yield missing("ira_worst", f"{p.prefix}none", reason)
            return
        before = p.hits(base, p.sets.axis)
        worst = max(rows, key=lambda n: (before[rows[n]].mean() - now[rows[n]].mean(), -now[rows[n]].mean()))
        own = rows[worst]
        drop = (
            Interval.exactly(0.0, len(own))
            if base is self.said
            else stats.paired_difference(before[own], now[own])
        )
        yield scored("ira_worst", p.prefix + worst, drop.scaled(100))

    def recovery(self, edit: Said | None) -> Iterator[Score]:
        """Yield (UA[edit] - UA now) / (UA[edit] - UA[base]): the share of the forgetting that quantization
        undid; `edit` is the edited model in full precision.
        """
        p, base = self.protocol, self.against.get("base")
        for name, group in p.groups().items():
            rows, variant = np.flatnonzero(group & p.own), p.prefix + name
            if not len(rows):
                continue
            if base is None or edit is None:
                yield missing("rec", variant, "defined for a quantized edit only, against base and edit")
                continue
            now, start, end = (
                p.hits(s, p.sets.axis)[rows].astype(np.float64) for s in (self.said, base, edit)
            )
            forgotten = 100 * float((start - end).mean())
            if forgotten < RECOVERY_FLOOR:
                reason = (
                    f"undefined: the edit raised UA by {forgotten:.1f} points, fewer than {RECOVERY_FLOOR:g}"
                )
                yield missing("rec", variant, reason)
                continue
            yield scored("rec", variant, stats.bootstrap_ratio(now - end, start - end, self.seed, self.draws))

    def _drops(
        self,
        metric: str,
        variant: str,
        now: NDArray[np.generic],
        before: Mapping[str, NDArray[np.generic] | None],
        weights: NDArray[np.float64] | None = None,
    ) -> Iterator[Score]:
        """Yield the drop since each state before, in points; that of a state beside itself is 0
        for certain.
        """
        for state, other in before.items():
            if other is None:
                yield missing(metric, f"{variant}/{state}", _no_reference(state))
                continue
            drop = (
                Interval.exactly(0.0, len(now))
                if self.against[state] is self.said
                else stats.paired_difference(other, now, weights=weights)
            )
            yield scored(metric, f"{variant}/{state}", drop.scaled(100))


def _no_reference(state: str) -> str:
    return f"no reference: {STATES[state]} was not measured"
