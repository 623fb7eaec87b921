"""Which names go with which: of every method, how often each generated name is still found after each
forgotten one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from razor_cli.runs.folder import Run
from razor_cli.tables.canvas_printed import FAMILY
from razor_cli.tables.cells import Heading, Meaning, Number
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.drawn import BENCHMARK
from razor_cli.tables.hints import command
from razor_cli.tables.layout import ABSENT
from razor_cli.tables.selection import UNEDITED, by_model, usable, versions

TABLE = "interference"
NAME, OWN = "ira_name", "ua"  # accuracy of another name, and 100 less that of the target


@dataclass(frozen=True, kw_only=True)
class Heat:
    """Accuracy in % of every generated name (columns) after each forgotten one, by method; NaN where a name
    was not drawn. `rows` are the names that each method was run on, `forgotten` those of all methods.
    """

    title: str
    scenario: str
    runs: Sequence[Run]
    forgotten: tuple[str, ...]
    generated: tuple[str, ...]
    rows: Mapping[str, tuple[str, ...]]
    methods: Mapping[str, NDArray[np.float64]]

    def without(self) -> Mapping[str, list[str]]:
        """Return the names that others were run on, by method."""
        return {
            m: less for m, own in self.rows.items() if (less := [f for f in self.forgotten if f not in own])
        }


def heats(runs: Sequence[Run]) -> list[Heat]:
    """Return one for each scenario and model that recorded accuracy name by name."""
    own, found = _used(runs), []
    for scenario in sorted({r.record.scenario for r in own}):
        for model, chosen in by_model([r for r in own if r.record.scenario == scenario]).items():
            cells = {m: _cells([r for r in chosen if r.record.method == m]) for m in _methods(chosen)}
            cells = {m: own for m, own in cells.items() if own}
            if cells:
                found.append(_heat(f"{model}, {scenario}", scenario, chosen, cells))
    return found


def _used(runs: Sequence[Run]) -> list[Run]:
    return [r for r in usable(runs) if r.record.family == FAMILY and r.record.method not in UNEDITED]


Cells = Mapping[tuple[str, str], float]


def _methods(runs: Sequence[Run]) -> list[str]:
    return sorted({r.record.method for r in runs}, key=lambda m: (not m.startswith("razor"), m))


def _heat(title: str, scenario: str, runs: Sequence[Run], cells: Mapping[str, Cells]) -> Heat:
    forgotten = sorted({target for own in cells.values() for target, _ in own})
    others = {name for own in cells.values() for _, name in own} - set(forgotten)
    generated = [*forgotten, *sorted(others)]  # what was forgotten lies on the diagonal
    rows = {m: tuple(f for f in forgotten if any(f == t for t, _ in own)) for m, own in cells.items()}
    methods = {
        m: np.array([[own.get((f, g), np.nan) for g in generated] for f in rows[m]])
        for m, own in cells.items()
    }
    return Heat(
        title=title,
        scenario=scenario,
        runs=runs,
        forgotten=tuple(forgotten),
        generated=tuple(generated),
        rows=rows,
        methods=methods,
    )


def _cells(runs: Sequence[Run]) -> Cells:
    """Return the mean accuracy over seeds by (forgotten, generated), in full precision."""
    found: dict[tuple[str, str], list[float]] = {}
    for run in runs:
        target = run.record.target
        rows: dict[str, float] = {}
        for row in run.scores:
            score, value = row.score, row.score.value
            if (row.state, row.quantization) != ("edit", "none") or value is None:
                continue
            if score.metric == NAME:
                rows[score.variant] = value
            elif (score.metric, score.variant) == (OWN, BENCHMARK):
                rows[target] = 100 - value
        if len(rows) > 1:  # else no other name was scored by itself
            for name, value in rows.items():
                found.setdefault((target, name), []).append(value)
    return {place: float(np.mean(values)) for place, values in found.items()}


def build(runs: Sequence[Run]) -> Document:
    """Return the matrices as tables: a row for each method and forgotten name."""
    panels, found = [], heats(runs)
    for heat in found:
        heads = [Heading(g, Meaning(metric="accuracy", variant=g, unit="%")) for g in heat.generated]
        rows = [
            (method, name, *(ABSENT if np.isnan(v) else Number(f"{v:.1f}", float(v)) for v in values))
            for method, matrix in heat.methods.items()
            for name, values in zip(heat.rows[method], matrix, strict=True)
        ]
        panels.append(Panel(title=heat.title, columns=("method", "forgotten", *heads), rows=rows))
    notes = [
        "Accuracy in %, all sentences together, of each name after another one was forgotten; of the "
        "forgotten name itself by the benchmark's sentence (100 less UA), where low is what was asked for.",
        *versions(_used(runs)),
    ]
    for heat in found:
        for method, names in heat.without().items():
            run = command("drawn", heat.runs, scenario=heat.scenario, method=method)
            notes.append(f"{heat.title}: {method} was not run on {', '.join(names)}: {run}")
    notes += [] if panels else ["Nothing measured: razor-run experiment=drawn metrics.per_name=true"]
    return Document(
        name=TABLE, title="Forgotten names by generated ones, measured", panels=panels, notes=notes
    )
