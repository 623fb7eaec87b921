"""What several targets of one run became, together, one after another, or each alone and put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from razor_cli.metrics.score import Score
from razor_cli.report.cells import heading, interval
from razor_cli.report.layout import Turns, layout_of
from razor_cli.report.turned import Turned, turned
from razor_cli.runs.folder import Run
from razor_cli.tables.cells import Heading, Meaning, Number
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.own_methods import told_apart
from razor_cli.tables.selection import named

TITLE = "Several targets in one run"
NONE = "–"
SHORT = 8  # of a run's id, enough for `razor show`
NOTES = (
    "A row for each state in full precision. base: the unedited model. 2: B stands for the model after the "
    "second edit, found where the first had left it, B alone for its edit by itself, found at the unedited "
    "weights, edit for all of them.",
    "Behind its own row a target's column tells what later edits gave back, before it what earlier ones "
    "took.",
)


def build(runs: Sequence[Run]) -> Document:
    """Return a panel for all runs of the same model and targets, a row for each state of each."""
    known = [(run, found) for run in told_apart(runs) if (found := _turned(run))]
    known.sort(key=lambda pair: (_place(*pair), named(pair[0]), _how(pair[1]), pair[0].record.seed))
    panels = [_panel(list(group)) for _, group in groupby(known, key=lambda pair: _place(*pair))]
    run = "no run recorded: razor-run target='[A, B]'"
    empty = Panel(title="nothing measured", columns=("method", "what"), rows=[("", run)], labels=1)
    return Document(name="turns", title=TITLE, panels=panels or [empty], notes=list(NOTES))


def _turned(run: Run) -> Turned | None:
    layout = layout_of(run.record.family)
    parts = [p for p in layout.parts if isinstance(p, Turns)] if layout else []
    return turned(parts[0], run.scores, run.record.target) if parts else None


def _place(run: Run, found: Turned) -> tuple[str, ...]:
    r = run.record
    return r.model, r.scenario, r.data, r.judged_on, *found.targets


def _cell(score: Score | None) -> str:
    if score is None or score.value is None:
        return NONE
    bounds = (score.ci_low, score.ci_high)
    text = f"{score.value:.1f}{interval(score)}"
    return Number(text, score.value, interval=bounds, n=score.n, seeds=1)


def _heads(found: Turned) -> Iterator[Heading]:
    """Yield the heads of the targets, then of what was kept, each with its arrow and unit."""
    names = (*(f"{name}: {found.gone}" for name in found.targets), *found.heads)
    for name, scores in zip(names, zip(*found.lines.values(), strict=True), strict=True):
        score = next(filter(None, scores), None)
        meaning = Meaning(metric=name)
        if score is not None:
            meaning = Meaning(metric=score.metric, variant=score.variant, unit=score.unit)
        yield Heading(heading(name, score).replace("\n", " "), meaning)


def _how(found: Turned) -> str:
    return "apart" if found.apart else "in turn" if found.by_itself(1) not in ("", "edit") else "together"


def _panel(known: Sequence[tuple[Run, Turned]]) -> Panel:
    run, first = known[0]
    r = run.record
    rows = [
        (
            *(named(each), _how(found), str(each.record.seed), each.run_id[:SHORT]),
            found.label(state),
            *map(_cell, scores),
        )
        for each, found in known
        for state, scores in found.lines.items()
    ]
    stand_in = " STAND-IN" if r.stand_in else ""
    return Panel(
        title=f"{r.model}{stand_in}, {r.scenario} ({r.data}), {r.judged_on} pictures",
        columns=("method", "targets", "seed", "run", "weights", *_heads(first)),
        rows=rows,
        labels=5,
    )
