"""Table 5 of RAZOR: what an edit costs, and the trade-off score under every rule that was tried."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from razor_cli.runs.folder import Run
from razor_cli.tables.canvas_costs import MEMORY_NOTE, costs_of, is_fresh, measures_of, samples_of
from razor_cli.tables.canvas_printed import (
    FAMILY,
    METHODS,
    SHARES,
    STAND_INS,
    TASKS,
    TODAY,
    missing,
    of_method,
    preset_of,
    presets,
    printed_as,
    table4,
    table5,
    titled,
)
from razor_cli.tables.cells import MEASURED, PUBLISHED, Heading, Meaning, Number, remark
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.layout import ABSENT, KEY, WITHOUT, Line, mean_cell, panel, plural, some, units
from razor_cli.tables.selection import by_model, left_out, sample, usable, versions
from razor_cli.tables.table4 import MEASURES
from razor_cli.tables.tradeoff import RULES, Costs, scores

ACCURACY = "mean of six accuracies ↑ %"  # of a column
TITLE = "RAZOR Table 5, what edits of SD v1.5 cost: published numbers beside measured ones"
MODEL = "sd15"
NOTES = (
    "The printed trade-off score cannot be reproduced. The caption says: mean of the six accuracies over the "
    "mean of the three costs. By these words SLUG (5.79) is before RAZOR (3.58), where 59.42 and 66.86 are "
    "printed. No rule that was tried gives the printed column: neither those shown, nor least or largest "
    "costs as units, logarithms, roots, ranks or other means. The printed column stands there for reference, "
    "with a '?'; it takes part in no comparison.",
    "Of the rules shown, hours come nearest (RAZOR barely first); the literal one, the shares of the largest "
    "and the geometric mean put SLUG first. Bold: the first by each rule.",
    "authors' code today: where it has become faster than what was printed. UCE's solves in below a second "
    "what 434 s are printed for, so its printed score is of other code.",
    "Measured: runs with fresh=true only, each in a process of its own and with nothing from the cache. A "
    "process that keeps its model never gives its memory back, and a cached gradient costs no time. Storage "
    "is that of the patch; published are whole models for ESD to SalUn.",
    MEMORY_NOTE,
)


def build(runs: Sequence[Run]) -> Document:
    """Return the table from recorded runs; accuracies are of the same runs as costs."""
    own = [r for r in usable([r for r in runs if is_fresh(r)]) if _belongs(r)]
    panels: list[Panel] = []
    for where, found in by_model(own).items():
        title = titled(where, found)
        panels += [_costs(title, found), *_measured_scores(title, found)]
    panels = panels or [_costs("nothing measured", [])]
    panels.insert(0, _printed_scores())
    notes = [*NOTES, *KEY, *_not_fresh(runs), *left_out(runs, _belongs), *versions(own)]
    return Document(name="table5", title=TITLE, panels=panels, notes=notes)


def _belongs(run: Run) -> bool:
    r = run.record
    known = any(of_method(run, method) for method in METHODS)
    return r.family == FAMILY and r.scenario in TASKS and printed_as(run) == MODEL and known


def _not_fresh(runs: Sequence[Run]) -> list[str]:
    others = sum(_belongs(r) and not is_fresh(r) for r in runs)
    return [f"Left out: {plural(others, 'run')} without fresh=true."] if others else []


def _costs(title: str, runs: Sequence[Run]) -> Panel:
    measures = measures_of(runs)
    lines = []
    for method in METHODS:
        printed, today = table5()[method], TODAY.get(method, ABSENT)
        done = presets(runs, method)
        for preset in done:
            own = [r for r in runs if preset_of(r) == preset]
            labels = (method, preset, today)
            lines.append(Line(labels=labels, name=preset, samples=samples_of(own, measures), printed=printed))
        if not done:
            why = missing("table5", method, runs, model=STAND_INS[MODEL])
            lines.append(Line(labels=(method, "", today), printed=printed, why=why))
    heads = ("method", "preset", "authors' code today ↓ s")
    return panel(f"Costs as published | {title}", heads, lines, measures, against=("razor",))


def published_accuracy() -> dict[str, float]:
    """Return the mean of the six printed accuracies on SD v1.5."""
    rows = table4()
    return {
        m: statistics.fmean(float(rows[MODEL, task, m][share]) for task in TASKS for share in SHARES)
        for m in METHODS
    }


def published_costs() -> dict[str, Costs]:
    """Return the printed costs by method."""
    return {
        m: Costs(seconds=float(r["time_s"]), memory=float(r["mem_gb"]), storage=float(r["storage_gb"]))
        for m, r in table5().items()
    }


def _printed_scores() -> Panel:
    accuracy, costs = published_accuracy(), published_costs()
    printed = {m: (f"{accuracy[m]:.2f}", f"{table5()[m]['tradeoff']}?") for m in METHODS}
    mean = Heading(ACCURACY, Meaning(metric="mean of six accuracies", unit="%", source=PUBLISHED))
    score = Heading("printed ↑", Meaning(metric="trade-off score", source=PUBLISHED))
    columns = ("method", mean, score, *_heads(PUBLISHED))
    return _score_panel("Trade-off score of the printed numbers", columns, printed, accuracy, costs)


def _heads(source: str) -> tuple[str, ...]:
    """Return a head for each rule; of numbers that were published its score is, too."""
    own = (Meaning(metric="trade-off score", variant=rule, source=source) for rule in RULES)
    return tuple(Heading(f"{rule} ↑", of) for rule, of in zip(RULES, own, strict=True))


def _score_panel(
    title: str,
    columns: tuple[str, ...],
    labels: Mapping[str, tuple[str, ...]],
    accuracy: Mapping[str, float],
    costs: Mapping[str, Costs],
) -> Panel:
    """Return the scores of every method under every rule, the first of each in bold."""
    found = [scores(accuracy, costs, rule) for rule in RULES.values()]
    rows = [
        (m, *labels[m], *(Number(f"{own[m]:.3f}", own[m]) if m in own else ABSENT for own in found))
        for m in labels
    ]
    first = len(columns) - len(RULES)
    order = list(labels)
    bold = {(order.index(best), first + j) for j, own in enumerate(found) if (best := _first(own))}
    return Panel(title=title, columns=columns, rows=rows, bold=frozenset(bold), labels=1)


def _first(own: Mapping[str, float]) -> str:
    """Return the method with the highest score; nothing where several print the same one."""
    top = [m for m, value in own.items() if f"{value:.3f}" == f"{max(own.values()):.3f}"]
    return top[0] if len(top) == 1 else ""


def _measured_scores(title: str, runs: Sequence[Run]) -> Iterable[Panel]:
    """Yield the scores of the measured numbers, of presets that have both kinds of target."""
    accuracy: dict[str, float] = {}
    costs: dict[str, Costs] = {}
    targets: dict[str, set[str]] = {}
    for preset in [p for m in METHODS for p in presets(runs, m)]:
        own = [r for r in runs if preset_of(r) == preset]
        six = [
            units(sample([r for r in own if r.record.scenario == task], m))
            for task in TASKS
            for m in MEASURES[: len(SHARES)]
        ]
        if all(six):
            accuracy[preset] = statistics.fmean(statistics.fmean(values) for values in six)
            costs[preset] = costs_of(own)
            targets[preset] = {f"{r.record.scenario} {r.record.target}" for r in own}
    if accuracy:
        lacking = {p: some(sorted(set().union(*targets.values()) - own)) for p, own in targets.items()}
        told = any(lacking.values())
        labels = {
            preset: (mean_cell([value]), *([lacking[preset] or ABSENT] if told else []))
            for preset, value in accuracy.items()
        }
        columns = ("preset", ACCURACY, *([remark(WITHOUT)] if told else []), *_heads(MEASURED))
        yield _score_panel(f"Trade-off score as measured | {title}", columns, labels, accuracy, costs)
