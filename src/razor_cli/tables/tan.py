"""Tan & Gong's tables on a two-level taxonomy: forget fine labels, keep coarse ones (arXiv 2506.11253, Tables
2-4 and 10-16).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from razor_cli.runs.folder import Run
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import DOUBTFUL, KEY, Line, panel, plural
from razor_cli.tables.selection import (
    UNEDITED,
    Measure,
    by_model,
    conditions,
    is_own,
    left_out,
    named,
    published,
    sample,
    usable,
    versions,
)
from razor_cli.tables.tan_printed import CELLS, ITEMS
from razor_cli.tables.tan_shapes import METHODS, NHL, ORIGIN, SHAPES, Shape, measures, plain_name

SCENARIO = "fine_grained"
NOTES = (
    "Published: CLIP ViT-L/14 on ImgnetDogs, OxfordPet or CompCars-S. Measured: the taxonomy and model "
    "of each header. Compare "
    "orderings, not values.",
    "Utility is the mean of three accuracy ratios to the unedited model. The printed numbers only come "
    "out when each ratio "
    "counts as 1 at most, which the paper does not say; measured Utility is capped the same way "
    "(metrics.qu_cap).",
    DOUBTFUL,
    *KEY,
)


def build(runs: Sequence[Run], name: str) -> Document:
    """Return one of SHAPES from recorded runs; it computes no score, only means over runs."""
    shape = SHAPES[name]
    printed = {plain_name(r["method"]): r for r in published(shape.file)}
    own = chosen(runs, shape.kind, shape.targets)
    panels = [
        _panel(shape, model, found, printed)
        for model, found in by_model(own).items()
        if not _is_series(found)  # runs of Table 14
    ] or [_panel(shape, "", [], printed)]
    notes = [
        f"As printed: {ITEMS[shape.file]}",
        *NOTES,
        *left_out(runs, lambda r: r.record.scenario == SCENARIO),
        *versions(own),
    ]
    return Document(
        name=name,
        title=f"Tan & Gong {shape.title}: published numbers beside measured ones",
        panels=panels,
        notes=notes,
    )


def chosen(runs: Sequence[Run], kind: str, targets: Sequence[str] = (), *, plain: bool = True) -> list[Run]:
    """Return the usable runs of one embedded taxonomy, or of a user's own pictures, that forgot one of the
    targets.
    """
    found = [r for r in usable(runs, plain=plain) if r.record.scenario == SCENARIO]
    return [
        r
        for r in found
        if (r.record.data == kind or is_own(r)) and (not targets or r.record.target in targets)
    ]


def own_target(runs: Sequence[Run]) -> str:
    """Return the target of runs on a user's own pictures, which an experiment does not list."""
    return runs[0].record.target if runs and is_own(runs[0]) else ""


def _is_series(runs: Sequence[Run]) -> bool:
    sized = any(c.startswith("data.n_forget=") for c in conditions(runs[0]))
    return sized and {r.record.method for r in runs} <= set(METHODS["nhl+kl"])


def _panel(shape: Shape, model: str, runs: list[Run], printed: dict[str, dict[str, str]]) -> Panel:
    columns = measures(shape.keys, shape.split)
    where = (
        f"{model}, {taxonomy(runs)}, {shape.targets[0]}: {plural(len({r.record.seed for r in runs}), 'seed')}"
        if runs
        else "nothing measured"
    )
    origin = next((printed[k] for k in ORIGIN if k in printed), {})
    lines = [line("unedited", runs, columns, "base", origin, role="base")] if runs or origin else []
    for name, cells in printed.items():
        if name in ORIGIN:
            continue
        presets = METHODS[name]
        done = [p for p in presets if any(r.record.method == p for r in runs)]
        for preset in done:
            made = line(preset, [r for r in runs if r.record.method == preset], columns, "edit", cells)
            lines.append(replace(made, doubtful=CELLS.get((shape.file, name), ())))
        if not done:
            why = not_run(shape.experiment, runs, target=own_target(runs), method=presets[0])
            wrong = CELLS.get((shape.file, name), ())
            lines.append(Line(labels=(presets[0], cells["method"]), printed=cells, doubtful=wrong, why=why))
    known = {p for presets in METHODS.values() for p in presets} | set(UNEDITED)
    if shape.file != "tan_table4":
        for method in sorted({r.record.method for r in runs} - known):
            lines.append(line(method, [r for r in runs if r.record.method == method], columns, "edit", {}))
    return panel(
        f"{shape.beside} as published | {where}",
        ("method", "printed as"),
        lines,
        columns,
        against=("unedited", NHL),
    )


def line(
    name: str,
    runs: Sequence[Run],
    columns: Sequence[Measure],
    state: str,
    printed: dict[str, str],
    role: str = "method",
) -> Line:
    """Return the line of one method, or of the unedited model."""
    samples = {m.key: sample(runs, m, state=state) for m in columns}
    return Line(
        labels=(name, printed.get("method", "–")),
        role=role,
        name=name,
        samples=samples,
        printed=printed,
        why="recorded, but without these metrics",
    )


def unprinted(own: Line) -> Line:
    """Return a line without the name that it is printed under."""
    return replace(own, labels=own.labels[:1])


def taxonomy(runs: Iterable[Run]) -> str:
    """Return what the measured taxonomy is."""
    names = {"emoji": "emoji by Unicode group", "portraits": "drawn portraits by trait"}
    kinds = sorted({r.record.data for r in runs})
    return ", ".join(names.get(k, f"own pictures ({k})") for k in kinds)


def levels(runs: Sequence[Run]) -> Document:
    """Return Table 3: the unedited model against NHL+KL on three levels."""
    columns = measures(SHAPES["tan12"].keys, "in")
    printed = {(r["level"].lower(), plain_name(r["method"])): r for r in published("tan_table3")}
    by_level = {
        level: chosen(runs, "emoji", (level, f"ImgnetDogs {level.capitalize()}"))
        for level in ("difficult", "medium", "easy")
    }
    models = sorted({m for own in by_level.values() for m in by_model(own)}) or [""]
    panels = []
    for model in models:
        lines = []
        model_runs = [r for found in by_level.values() for r in by_model(found).get(model, [])]
        for level, runs_of in by_level.items():
            own = [r for r in by_model(runs_of).get(model, [])]
            nhl = [r for r in own if r.record.method == NHL]
            for name, state, key, found in (("unedited", "base", "clip", nhl), (NHL, "edit", "nhl+kl", nhl)):
                made = line(name, found, columns, state, printed[level, key], role="base")
                why = not_run(f"tan_{LEVEL_FILES[level]}", model_runs, target=own_target(own), method=NHL)
                wrong = CELLS.get(("tan_table3", key, level), ())
                lines.append(replace(made, labels=(level, name), group=level, why=why, doubtful=wrong))
        where = f"{model}, emoji by Unicode group" if model else "nothing measured"
        panels.append(
            panel(
                f"ImgnetDogs as published | {where}",
                ("level", "method"),
                lines,
                columns,
                against=("unedited",),
            )
        )
    notes = [f"As printed: {ITEMS['tan_table3']}", *NOTES]
    return Document(
        name="tan3",
        title="Tan & Gong Table 3, levels of difficulty: published beside measured",
        panels=panels,
        notes=notes,
    )


LEVEL_FILES = {"difficult": "table2", "medium": "table12", "easy": "table13"}


def regularizers(runs: Sequence[Run]) -> Document:
    """Return what the two KL terms add to each method: runs with alpha_coarse and alpha_fine beside those
    without.
    """
    columns = measures(SHAPES["tan2"].keys, "in")
    panels = []
    for kind in ("emoji", "portraits"):
        for model, own in by_model(chosen(runs, kind, plain=False)).items():
            kept = [r for r in own if r.record.method not in UNEDITED and not _is_series([r])]
            weighed = {r.record.method for r in kept if "alpha" in named(r)}
            places = {(r.record.target, r.record.seed) for r in kept if "alpha" in named(r)}
            kept = [
                r for r in kept if (r.record.target, r.record.seed) in places
            ]  # plain rows on the same targets and seeds
            labels = sorted({named(r) for r in kept if r.record.method in weighed})
            if weighed:
                lines = [line("unedited", kept, columns, "base", {}, role="base")]
                lines += [
                    line(label, [r for r in kept if named(r) == label], columns, "edit", {})
                    for label in labels
                ]
                targets = sorted({r.record.target for r in kept})
                title = f"{model}, {taxonomy(kept)}: {plural(len(targets), 'target', targets)}"
                panels.append(panel(title, ("method",), list(map(unprinted, lines)), columns))
    notes = list(KEY) if panels else ["Nothing measured: razor-run experiment=tan_regularizers"]
    return Document(
        name="regularizers",
        title="Tan & Gong's regularisers added to each of their methods, measured",
        panels=panels,
        notes=notes,
    )
