"""Which recorded runs keep the bounds they were judged by, with which numbers, of any family of models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

from razor_cli.metrics.bounds import Bound, demand, parse_bounds
from razor_cli.metrics.score import Score
from razor_cli.metrics.verdict import Finding, Outcome, judge
from razor_cli.runs.folder import Run
from razor_cli.tables.cells import Heading, Meaning, Number, aside, remark
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.own_methods import told_apart
from razor_cli.tables.selection import named

TITLE = "Verdicts, run by run"
NONE = "–"
SHORT = 8  # of a run's id, enough for `razor show`
MARKS = {Outcome.ACCEPTED: "", Outcome.UNDECIDED: " ?", Outcome.REJECTED: " ✗"}


def build(runs: Sequence[Run]) -> Document:
    """Return a panel for all runs of the same model, scenario and bounds: a row for each run, a column for
    each bound.
    """
    judged = [(run, bounds) for run in told_apart(runs) if (bounds := _recorded(run))]
    known = sorted(judged, key=lambda pair: (_place(*pair), _order(pair[0])))
    panels = [_panel(list(group)) for _, group in groupby(known, key=lambda pair: _place(*pair))]
    notes = [
        "Every run is held to the bounds it was recorded with, by the rules of this version; `razor judge` "
        "asks others.",
        "A number stands with its interval. ✗: all of it lies beyond the bound. ?: it reaches beyond, there "
        "is none, or the unedited model did not know what was to be forgotten. It is that of the first "
        "width; others follow where they end in another way. A run's verdict takes all widths together.",
    ]
    if left := len(runs) - len(judged):
        notes.append(f"{left} runs were recorded without a bound.")
    return Document(name="verdicts", title=TITLE, panels=panels, notes=notes)


def _recorded(run: Run) -> Mapping[str, Mapping[str, Any]]:
    """Return a run's bounds by name; in which order they were written is no difference."""
    scenario = run.record.settings.get("scenario")
    found = scenario.get("acceptance") if isinstance(scenario, Mapping) else None
    return dict(sorted(found.items())) if isinstance(found, Mapping) else {}


def _place(run: Run, bounds: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """Return what makes a panel of its own: numbers on validation pictures never stand among others."""
    r = run.record
    return r.model, r.scenario, r.data, r.judged_on, repr(bounds)


def _order(run: Run) -> tuple[Any, ...]:
    return named(run), run.record.target, run.record.seed, run.run_id


def _panel(judged: Sequence[tuple[Run, Mapping[str, Mapping[str, Any]]]]) -> Panel:
    first, recorded = judged[0]
    bounds, r = parse_bounds(recorded), first.record
    rows = [_row(run, bounds) for run, _ in judged]
    stand_in = " STAND-IN" if r.stand_in else ""
    heads = (
        Heading(f"{name}: {bound.metric} {demand(bound)}", Meaning(metric=bound.metric, variant=name))
        for name, bound in bounds.items()
    )
    return Panel(
        title=f"{r.model}{stand_in}, {r.scenario} ({r.data}), {r.judged_on} pictures",
        columns=("method", "target", "seed", "run", aside("weights"), *heads, remark("verdict")),
        rows=rows,
        labels=4,
    )


def _row(run: Run, bounds: Mapping[str, Bound]) -> tuple[str, ...]:
    scores: dict[tuple[str, str], list[Score]] = {}
    for row in run.scores:
        scores.setdefault((row.state, row.quantization), []).append(row.score)
    verdict, r = judge(scores, bounds), run.record
    widths = ", ".join(dict.fromkeys(f.quantization for f in verdict.findings))
    said = verdict.outcome.value + (f" by {verdict.judge}" if verdict.judge else "")
    cells = (_cells([f for f in verdict.findings if f.name == name]) for name in bounds)
    return named(run), r.target, str(r.seed), r.run_id[:SHORT], widths, *cells, said


def _cells(findings: Sequence[Finding]) -> str:
    """Return what a bound says of the first width, and of those where it says something else."""
    first, *others = findings
    unlike = (f"; {f.quantization} {_cell(f)}" for f in others if f.outcome is not first.outcome)
    text = _cell(first) + "".join(unlike)
    if first.value is None:
        return text
    return Number(text, first.value, interval=(first.low, first.high), seeds=1, note=first.outcome.value)


def _cell(finding: Finding) -> str:
    mark = MARKS[finding.outcome]
    if finding.value is None:
        return NONE + mark
    if finding.low is None or finding.high is None:
        return f"{finding.value:.1f}{mark}"
    return f"{finding.value:.1f} [{finding.low:.1f}, {finding.high:.1f}]{mark}"
