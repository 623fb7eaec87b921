"""Every score of every recorded run, whatever its family: a table for what no paper has laid out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from razor_cli.runs.folder import Run
from razor_cli.runs.rows import ScoreRow
from razor_cli.tables.cells import Heading, Meaning, Number
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.own_methods import told_apart
from razor_cli.tables.selection import named

TITLE = "What was measured, run by run"
NONE = "–"
WHERE = (
    "A method stands with the settings in which it differs from its preset. Methods beside each other: "
    "`razor tables compare` (CLIP) and `drawn` (models that draw); bounds kept or not: `razor tables "
    "verdicts`."
)


def build(runs: Sequence[Run]) -> Document:
    """Return a panel for each model, scenario and target, a row for each method, seed, state and width.

    A score file keeps the scores that the other tables read, so of one it shows those.
    """
    known = sorted(told_apart(runs), key=lambda r: (_place(r), named(r), r.record.seed, r.run_id))
    panels = [_panel(place, list(group)) for place, group in groupby(known, key=_place)]
    notes = [WHERE] if panels else ["No run is recorded: razor-run target=NAME"]
    return Document(name="measured", title=TITLE, panels=panels, notes=notes)


def _place(run: Run) -> tuple[str, str, str, str, str]:
    """Return what makes a panel of its own: numbers on validation pictures never stand among others."""
    r = run.record
    return r.model, r.scenario, r.data, r.target, r.judged_on


def _panel(place: tuple[str, str, str, str, str], runs: Sequence[Run]) -> Panel:
    model, scenario, data, target, judged = place
    stand_in = " STAND-IN" if runs[0].record.stand_in else ""
    metrics = {_name(row): _meaning(row) for run in runs for row in run.scores}
    rows = [tuple(cells) for run in runs for cells in _rows(run, list(metrics))]
    columns = ("run", "method", "seed", "weights", *(Heading(name, of) for name, of in metrics.items()))
    return Panel(
        title=f"{model}{stand_in}, {scenario} ({data}), {judged} pictures: {target}",
        columns=columns,
        rows=rows,
        labels=4,
        width=3,
    )


def _rows(run: Run, metrics: Sequence[str]) -> list[list[str]]:
    """Return a row for every state and width of a run."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for row in run.scores:
        found.setdefault((row.state, row.quantization), {})[_name(row)] = _cell(row)
    head = [run.run_id, named(run), str(run.record.seed)]
    return [
        [*head, f"{state} {width}" if width != "none" else state, *(cells.get(m, NONE) for m in metrics)]
        for (state, width), cells in found.items()
    ]


def _name(row: ScoreRow) -> str:
    return f"{row.score.metric} {row.score.variant} ({row.score.unit})"


def _meaning(row: ScoreRow) -> Meaning:
    return Meaning(metric=row.score.metric, variant=row.score.variant, unit=row.score.unit)


def _cell(row: ScoreRow) -> str:
    s = row.score
    if s.value is None:
        return NONE
    bounds = "" if s.ci_low is None or s.ci_high is None else f" [{s.ci_low:.4g}, {s.ci_high:.4g}]"
    return Number(f"{s.value:.4g}{bounds}", s.value, interval=(s.ci_low, s.ci_high), n=s.n, seeds=1)
