"""SLUG's slide on UnlearnCanvas: ten methods on SD v1.5, with FID and costs; published beside measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from razor_cli.runs.folder import Run
from razor_cli.tables.canvas_costs import MEMORY_NOTE, is_fresh, measures_of, samples_of
from razor_cli.tables.canvas_printed import (
    CARRIED,
    FAMILY,
    SHARES,
    SLIDE,
    STAND_INS,
    TASKS,
    missing,
    of_method,
    preset_of,
    presets,
    printed_as,
    slide,
    titled,
)
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.drawn import BENCHMARK
from razor_cli.tables.layout import KEY, Line, panel
from razor_cli.tables.selection import Measure, Sample, by_model, left_out, sample, usable, versions

TITLE = "SLUG's slide on UnlearnCanvas: published numbers beside measured ones"
METHODS = (*SLIDE, "RAZOR")
MODEL, NAME = "sd15", "slug_unlearncanvas"
INCEPTION = "torchvision:inception_v3"
NOTES = (
    "Published: SLUG is best in time and memory, not in storage (SEOT and SPM 0.0) and in no column of "
    "accuracy. RAZOR has no row on the slide.",
    *CARRIED[2:],
    "FID: of pictures without the target, to the data's pictures or to those of the unedited model, in the "
    "features of the network that the head names. The published one is of torchvision's Inception over "
    "5,100 pictures (metrics.fid=inception metrics.fid_weights=FILE data.answer_set=answer_set); another "
    "network's is another number, and no difference is formed.",
    "Costs: of runs with fresh=true only, each in a process of its own and with nothing from the cache.",
    MEMORY_NOTE,
)


def build(runs: Sequence[Run]) -> Document:
    """Return the table from recorded runs; scores and costs may come from different runs of a preset."""
    own = [r for r in usable(runs) if _belongs(r)]
    costly = [r for r in usable([r for r in runs if is_fresh(r)]) if _belongs(r)]
    panels: list[Panel] = []
    measured = by_model(costly)
    for where, found in by_model(own).items():
        panels.append(_panel(where, found, measured.get(where, [])))
    panels = panels or [_panel("nothing measured", [], [])]
    notes = [*NOTES, *KEY, *left_out(runs, _belongs), *versions(own)]
    return Document(name=NAME, title=TITLE, panels=panels, notes=notes)


def _belongs(run: Run) -> bool:
    r = run.record
    known = r.method == "none" or any(of_method(run, method) for method in METHODS)
    return r.family == FAMILY and r.scenario in TASKS and printed_as(run) == MODEL and known


def shares() -> dict[str, tuple[str, Measure]]:
    """Return the six accuracies: kind of target and measure by column."""
    return {
        f"{task}_{share}": (
            task,
            Measure(
                key=f"{task}_{share}",
                title=f"{task} {share.upper()}",
                unit="↑ %",
                metric=share,
                variant=BENCHMARK,
                direction="up",
            ),
        )
        for task in TASKS
        for share in SHARES
    }


def fids(runs: Sequence[Run]) -> tuple[Measure, ...]:
    """Return a column for each network and reference of a distance; the published one is among them."""
    there = {
        row.score.variant
        for run in runs
        for row in run.scores
        if row.score.metric == "fid" and row.score.value is not None
    }
    first = f"{INCEPTION}/data"
    return tuple(
        Measure(
            key="fid" if variant == first else variant,
            title=f"FID {variant}",
            unit="↓",
            metric="fid",
            variant=variant,
            direction="down",
        )
        for variant in (first, *sorted(there - {first}))
    )


def _panel(where: str, runs: Sequence[Run], costly: Sequence[Run]) -> Panel:
    where = titled(where, runs)
    distances, costs = fids(runs), measures_of(costly)
    measures = (*(m for _, m in shares().values()), *distances, *costs)
    lines = []
    if base := _samples(runs, distances, state="base"):
        lines.append(Line(labels=("unedited", ""), role="base", name="unedited", samples=base))
    for method in METHODS:
        printed = slide().get(method, {})
        done = presets(runs, method)
        for preset in done:
            own = [r for r in runs if preset_of(r) == preset]
            measured = [r for r in costly if preset_of(r) == preset]
            samples = {**_samples(own, distances), **(samples_of(measured, costs) if measured else {})}
            lines.append(Line(labels=(method, preset), name=preset, samples=samples, printed=printed))
        if not done:
            why = missing(NAME, method, runs, model=STAND_INS[MODEL])
            lines.append(Line(labels=(method, ""), printed=printed, why=why))
    title = f"SD v1.5 as published | {where}"
    return panel(title, ("method", "preset"), lines, measures, against=())


def _samples(runs: Sequence[Run], distances: Sequence[Measure], state: str = "edit") -> Mapping[str, Sample]:
    """Return accuracies by kind of target, and distances over both; nothing where there is none."""
    found: dict[str, Sample] = {
        key: sample([r for r in runs if r.record.scenario == task], m, state=state)
        for key, (task, m) in shares().items()
    }
    found |= {m.key: sample(runs, m, state=state) for m in distances}
    return found if any(found.values()) else {}
