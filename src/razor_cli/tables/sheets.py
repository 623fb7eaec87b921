"""Pictures that runs of models that draw recorded, methods beside each other: which run shows what."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from razor_cli.runs.folder import Run
from razor_cli.tables.canvas_printed import FAMILY
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.drawn import SHARES
from razor_cli.tables.heads import head_of
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import sample_cell
from razor_cli.tables.selection import UNEDITED, by_model, sample, usable, versions

PICTURES, COLUMNS = "shown.png", "shown.json"  # of a run: plain rows of pictures, and what they are
BEFORE, AFTER = "base", "edit"
SHOWN = SHARES[:5]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a page of pictures shows: which runs, and how what is missing is run."""

    title: str
    wanted: tuple[tuple[str, str], ...] = ()  # (scenario, method) that belong there; empty: all
    models: str = ""  # how names of models begin
    experiment: str = "drawn"

    def holds(self, run: Run) -> bool:
        """Tell whether a run belongs there."""
        r = run.record
        if r.family != FAMILY or r.method in UNEDITED:
            return False
        known = not self.wanted or (r.scenario, r.method.partition("_")[0]) in self.wanted
        return known and r.model.startswith(self.models)


SLUGS_EXAMPLES = (
    ("identity", "slug"),
    ("identity", "salun"),
    ("identity", "esd"),
    ("character", "slug"),
)
SHAPES = {
    "slug_sd": Shape(
        title="SLUG's examples on Stable Diffusion: a person by three methods, mascots by SLUG",
        wanted=SLUGS_EXAMPLES,
        experiment="slug_sd",
    ),
    "figure3": Shape(
        title="RAZOR Figure 3: a person that SD3 no longer draws, and bystanders",
        wanted=(("identity", "razor"), ("identity", "slug")),
        models="sd3",
        experiment="figure3",
    ),
    "pictures": Shape(title="Pictures of every method beside each other"),
}


@dataclass(frozen=True)
class Column:
    """What one column shows: target, near or others; the prompt, and the seed it was drawn from."""

    section: str
    prompt: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """One grid: the same prompts and seeds, a row for the unedited model and for each method."""

    title: str
    target: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, Path, int], ...]  # name, file, and which of the file's rows of pictures


def shown(run: Run) -> tuple[list[str], tuple[Column, ...]]:
    """Return the states and the columns of a run's pictures."""
    content = json.loads(run.read(COLUMNS))
    return content["states"], tuple(Column(**column) for column in content["columns"])


def sheets(runs: Sequence[Run], name: str) -> list[Sheet]:
    """Return the grids of one of SHAPES: one for each model, target and seed that has any pictures."""
    own = [r for r in usable(runs) if SHAPES[name].holds(r) and r.has(PICTURES) and r.has(COLUMNS)]
    found = []
    for scenario in sorted({r.record.scenario for r in own}, key=_order):
        for model, chosen in by_model([r for r in own if r.record.scenario == scenario]).items():
            for target in sorted({r.record.target for r in chosen}):
                first = min(r.record.seed for r in chosen if r.record.target == target)
                alike = [r for r in chosen if (r.record.target, r.record.seed) == (target, first)]
                found.append(_sheet(f"{model}, {scenario}: forgetting {target}, seed {first}", alike))
    return found


def _order(scenario: str) -> tuple[bool, str]:
    return scenario != "identity", scenario


def _sheet(title: str, runs: Sequence[Run]) -> Sheet:
    """Return the grid of a target; runs that show other pictures than most of the methods are left out."""
    by_columns: dict[tuple[Column, ...], dict[str, tuple[Run, list[str]]]] = {}
    for run in runs:
        states, columns = shown(run)
        by_columns.setdefault(columns, {})[run.record.method] = run, states
    columns, own = max(by_columns.items(), key=lambda found: len(found[1]))
    first, states = next(iter(own.values()))
    rows = [("unedited", first.path(PICTURES), states.index(BEFORE))]
    for method in sorted(own, key=lambda m: (not m.startswith("razor"), not m.startswith("slug"), m)):
        run, states = own[method]
        rows.append((method, run.path(PICTURES), states.index(AFTER)))
    return Sheet(title=title, target=first.record.target, columns=columns, rows=tuple(rows))


def build(runs: Sequence[Run], name: str) -> Document:
    """Return the numbers of the runs whose pictures stand beside each other; the pictures are a figure."""
    shape = SHAPES[name]
    own = [r for r in usable(runs) if shape.holds(r)]
    panels = []
    for scenario in sorted({r.record.scenario for r in own}, key=_order):
        for model, found in by_model([r for r in own if r.record.scenario == scenario]).items():
            title = f"{model}, {scenario}"
            columns = ("target", "method", *map(head_of, SHOWN))
            panels.append(Panel(title=title, columns=columns, rows=list(_rows(found))))
    missing = list(_missing(shape, own))
    if missing or not panels:
        nothing: list[tuple[str, ...]] = [*missing]
        if not nothing:
            nothing.append(("", "", not_run(shape.experiment)))
        panels.append(Panel(title="Not measured", columns=("scenario", "method", "command"), rows=nothing))
    notes = [
        "Rows of the figures: the unedited model, then every method; columns: prompts of the target, of the "
        "names nearest to it, and of others, each from the same seed in every row.",
        "The first seed of every target is drawn. A score file holds numbers only: figures need the runs.",
        *versions(own),
    ]
    return Document(name=name, title=shape.title, panels=panels, notes=notes)


def _rows(runs: Sequence[Run]) -> Iterable[tuple[str, ...]]:
    for target in sorted({r.record.target for r in runs}):
        own = [r for r in runs if r.record.target == target]
        for method in sorted({r.record.method for r in own}, key=lambda m: (not m.startswith("razor"), m)):
            alike = [r for r in own if r.record.method == method]
            cells = [sample_cell(sample(alike, m)) for m in SHOWN]
            yield (target, method, *cells)


def _missing(shape: Shape, runs: Sequence[Run]) -> Iterable[tuple[str, str, str]]:
    """Yield scenario, method and the command of what belongs there and was not run."""
    there = {(r.record.scenario, r.record.method.partition("_")[0]) for r in runs}
    for scenario, method in shape.wanted:
        if (scenario, method) not in there:
            yield scenario, method, not_run(shape.experiment, scenario=scenario, method=method)
