"""Several targets of one run, state by state: what became of each, and of the rest, from recorded scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from razor_cli.metrics.judges import reading_of
from razor_cli.metrics.score import Score
from razor_cli.report.layout import Reading, Turns
from razor_cli.runs.rows import ALONE, STEP, ScoreRow, on_the_way, state_order

BETWEEN = " + "  # of several targets in a record
SHOWN = ("base", "control", "edit")


@dataclass(frozen=True, kw_only=True)
class Turned:
    """A line for each state in full precision: scores of each target by its name, and of what was kept by
    heading.
    """

    gone: str  # what a target's scores are called
    targets: tuple[str, ...]
    heads: tuple[str, ...]
    lines: Mapping[str, tuple[Score | None, ...]]  # state -> of the targets, then of what was kept

    def label(self, state: str) -> str:
        """Return what a line is called."""
        number = on_the_way(state)
        if not number:
            return state
        name = self.targets[number - 1] if number <= len(self.targets) else ""
        return f"{name} alone" if state.startswith(ALONE) else f"{number}: {name}"

    def by_itself(self, number: int) -> str:
        """Return the state in which a target went last, or alone; none of an edit of all together."""
        names = (f"{ALONE}{number}", f"{STEP}{number}", "edit" if self._steps else "")
        return next((name for name in names if name in self.lines), "")

    @property
    def _steps(self) -> list[str]:
        return [state for state in self.lines if on_the_way(state)]

    @property
    def apart(self) -> bool:
        """Tell whether each edit was found by itself."""
        return any(state.startswith(ALONE) for state in self.lines)

    def costs(self) -> list[tuple[str, Score, Score]]:
        """Return what the others cost each target, and what those after the first cost the rest: name, then
        the score before and at the end.
        """
        found = [
            (name, self.lines[state][i], self.lines["edit"][i])
            for i, name in enumerate(self.targets)
            if (state := self.by_itself(i + 1)) not in ("", "edit")
        ]
        if f"{STEP}1" in self.lines:
            at = range(len(self.targets), len(self.targets) + len(self.heads))
            kept = ((self.lines[f"{STEP}1"][i], self.lines["edit"][i]) for i in at)
            found += [(head, *pair) for head, pair in zip(self.heads, kept, strict=True)]
        return [
            (name, before, after)
            for name, before, after in found
            if before and after and before.value is not None and after.value is not None
        ]


def turned(part: Turns, rows: Sequence[ScoreRow], target: str) -> Turned | None:
    """Return the lines of a run of several targets, as its record names them, in their order; None for one of
    a single target.
    """
    own = [r for r in rows if r.quantization == "none" and (r.state in SHOWN or on_the_way(r.state))]
    variants = list(dict.fromkeys(r.score.variant for r in own if r.score.metric == part.gone.metric))
    turns = target.split(BETWEEN)  # scores may stand in another order
    if sorted(turns) == sorted(map(reading_of, variants)):
        variants.sort(key=lambda variant: turns.index(reading_of(variant)))
    if len(variants) < 2:
        return None
    keep = [r for r in part.keep if any(_fits(row.score, r) for row in own)]
    lines = {}
    for state in sorted(dict.fromkeys(r.state for r in own), key=state_order):
        scores = [r.score for r in own if r.state == state]
        gone = {s.variant: s for s in scores if s.metric == part.gone.metric}
        kept = (next((s for s in scores if _fits(s, reading)), None) for reading in keep)
        lines[state] = (*(gone.get(variant) for variant in variants), *kept)
    return Turned(
        gone=part.gone.heading,
        targets=tuple(map(reading_of, variants)),
        heads=tuple(r.heading for r in keep),
        lines=lines,
    )


def _fits(score: Score, reading: Reading) -> bool:
    return fnmatchcase(score.metric, reading.metric) and fnmatchcase(score.variant, reading.variant)
