"""Table 4 of RAZOR: UA, IRA and CRA of every method on two models that draw, styles and objects; published
beside measured.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from razor_cli.runs.folder import Run
from razor_cli.tables.canvas_printed import (
    CARRIED,
    FAMILY,
    METHODS,
    MODELS,
    STAND_INS,
    TASKS,
    missing,
    of_method,
    preset_of,
    presets,
    printed_as,
    table4,
    titled,
)
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.drawn import BENCHMARK
from razor_cli.tables.layout import KEY, Line, panel
from razor_cli.tables.selection import Measure, by_model, left_out, sample, usable, versions

TITLE = "RAZOR Table 4, models that draw: published numbers beside measured ones"
HEADS = ("method", "preset")
COLUMNS = {"ua": "UA", "ira": "IRA", "cra": "CRA", "ua_valid": "valid UA", "near": "near it"}
MEASURES = tuple(
    Measure(key=key, title=title, unit="↑ %", metric=key, variant=BENCHMARK, direction="up")
    for key, title in COLUMNS.items()
)


def build(runs: Sequence[Run]) -> Document:
    """Return the table from recorded runs; it computes no score, only means over runs."""
    every = [r for r in usable(runs) if _belongs(r)]
    panels: list[Panel] = []
    for published_model in (*MODELS, ""):
        for task in TASKS:
            own = [r for r in every if r.record.scenario == task and printed_as(r) == published_model]
            for where, found in by_model(own).items():
                panels.append(_panel(published_model, task, where, found))
            if published_model and not own:
                panels.append(_panel(published_model, task, "nothing measured", []))
    notes = [*CARRIED, *KEY, *left_out(runs, _belongs), *versions(every)]
    return Document(name="table4", title=TITLE, panels=panels, notes=notes)


def _belongs(run: Run) -> bool:
    r = run.record
    known = r.method == "none" or any(of_method(run, method) for method in METHODS)
    return r.family == FAMILY and r.scenario in TASKS and known


def _panel(published_model: str, task: str, where: str, runs: Sequence[Run]) -> Panel:
    """Return the panel of one model and kind of target, with published numbers where there are some."""
    where = titled(where, runs)
    beside = f"{MODELS[published_model]}, {task}, as published" if published_model else f"scenario={task}"
    lines = [*_unedited(runs), *_methods(published_model, task, runs)]
    return panel(f"{beside} | {where}", HEADS, lines, MEASURES, against=("razor",))


def _unedited(runs: Sequence[Run]) -> Iterable[Line]:
    samples = {m.key: sample(runs, m, state="base") for m in MEASURES}
    if any(samples.values()):
        yield Line(labels=("unedited", ""), role="base", name="unedited", samples=samples)


def _methods(published_model: str, task: str, runs: Sequence[Run]) -> Iterable[Line]:
    for method in METHODS:
        printed = table4().get((published_model, task, method), {})
        done = presets(runs, method)
        for preset in done:
            own = [r for r in runs if preset_of(r) == preset]
            samples = {m.key: sample(own, m) for m in MEASURES}
            yield Line(labels=(method, preset), name=preset, samples=samples, printed=printed)
        if not done:
            why = missing("table4", method, runs, scenario=task, model=STAND_INS.get(published_model, ""))
            yield Line(labels=(method, ""), printed=printed, why=why)
