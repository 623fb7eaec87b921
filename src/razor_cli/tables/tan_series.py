"""Tan & Gong's tables whose columns or rows are not those of the others: zero-shot data sets (10, 16), forget
pictures (14).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from razor_cli.runs.folder import Run
from razor_cli.tables.cells import PUBLISHED, Heading, Meaning
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.layout import KEY, Line, panel, plural
from razor_cli.tables.selection import UNEDITED, Measure, by_model, published, sample
from razor_cli.tables.tan import chosen, line, taxonomy, unprinted
from razor_cli.tables.tan_printed import ITEMS
from razor_cli.tables.tan_shapes import METHODS, NHL, SHAPES, measures


def zero_shot(runs: Sequence[Run], name: str) -> Document:
    """Return Table 10 (after the first taxonomy) or 16 (after the second): accuracy on unrelated tasks, one
    panel each side.
    """
    shape = SHAPES[{"tan10": "tan2", "tan16": "tan15"}[name]]
    file, kind, targets = f"tan_table{name.removeprefix('tan')}", shape.kind, shape.targets
    panels = [_as_printed(file)]
    for model, own in by_model([r for r in chosen(runs, kind, targets)]).items():
        panels.append(_measured(model, own))
    notes = [
        f"As printed: {ITEMS[file]}",
        "The measured tasks are those that the recorded runs had; none of them is one of the published "
        "data sets.",
        *KEY,
    ]
    if len(panels) == 1:
        notes.insert(0, f"Nothing measured: razor-run experiment={shape.experiment}")
    number = name.removeprefix("tan")
    return Document(
        name=name,
        title=f"Tan & Gong Table {number}, zero-shot accuracy on unrelated tasks",
        panels=panels,
        notes=notes,
    )


def _as_printed(file: str) -> Panel:
    rows = published(file)
    columns = tuple(rows[0])
    heads = ("method", *(_printed(f"{c.replace('_', ' ')} ↑ %", c) for c in columns[1:]))
    return Panel(
        title="as published, CLIP ViT-L/14",
        columns=heads,
        rows=[(r["method"], *(r[c] for c in columns[1:])) for r in rows],
        labels=1,
    )


def _printed(text: str, metric: str) -> Heading:
    return Heading(text, Meaning(metric=metric, unit="%", source=PUBLISHED))


def _measured(model: str, runs: list[Run]) -> Panel:
    tasks = sorted(
        {
            x.score.metric
            for r in runs
            for x in r.scores
            if x.score.metric.startswith("zs_") and not x.score.metric.endswith("_drop")
        }
    )
    columns = [
        Measure(
            key=t,
            title=t.removeprefix("zs_").replace("_", " "),
            unit="↑ %",
            metric=t,
            variant="top1",
            direction="up",
        )
        for t in tasks
    ]
    columns.append(
        Measure(key="zero_shot", title="mean", unit="↑ %", metric="zero_shot", variant="mean", direction="up")
    )
    lines = [line("unedited", runs, columns, "base", {}, role="base")]
    order = [p for presets in METHODS.values() for p in presets]
    there = {r.record.method for r in runs} - set(UNEDITED)
    for method in [m for m in order if m in there] + sorted(there - set(order)):
        lines.append(line(method, [r for r in runs if r.record.method == method], columns, "edit", {}))
    title = f"measured | {model}, after forgetting in {taxonomy(runs)}"
    return panel(title, ("method",), list(map(unprinted, lines)), columns, against=("unedited", NHL))


def pictures(runs: Sequence[Run]) -> Document:
    """Return Table 14: NHL+KL by the number of forget pictures."""
    columns = measures(("quality", "utility", "q_u"), "in")
    rows = published("tan_table14")
    keys = ("quality", "utility", "q_u")
    heads = ("pictures per class", *map(_printed, ("Q ↑ %", "U ↑ %", "Q-U ↑ %"), keys))
    panels = [
        Panel(
            title="as published, ImgnetDogs Difficult, CLIP ViT-L/14",
            columns=heads,
            rows=[(r["samples_per_class"], r["quality"], r["utility"], r["q_u"]) for r in rows],
            labels=1,
        )
    ]
    own = [r for r in chosen(runs, "emoji", SHAPES["tan2"].targets) if r.record.method in METHODS["nhl+kl"]]
    for model, found in by_model(own, apart_from=("n_forget",)).items():
        by_size: dict[tuple[str, int], list[Run]] = {}
        for run in found:
            by_size.setdefault(
                (run.record.method, run.record.provenance.set_sizes.get("forget", 0)), []
            ).append(run)
        lines = [
            Line(
                labels=(_sized(same), method),
                name=f"{method} {size}",
                samples={c.key: sample(same, c) for c in columns},
            )
            for (method, size), same in sorted(by_size.items())
        ]
        title = f"measured | {model}, {taxonomy(found)}: {plural(len({size for _, size in by_size}), 'size')}"
        panels.append(panel(title, ("forget pictures", "method"), lines, columns, against=()))
    notes = [f"As printed: {ITEMS['tan_table14']}", *KEY[:1]]
    if len(panels) == 1:
        notes.insert(0, "Nothing measured: razor-run experiment=tan_table14")
    return Document(
        name="tan14", title="Tan & Gong Table 14, number of forget pictures", panels=panels, notes=notes
    )


def _sized(runs: Sequence[Run]) -> str:
    """Return what was asked for per class, and what there was; a class may have fewer pictures than were
    asked for.
    """
    data = [r.record.settings.get("data") for r in runs]
    asked = sorted({int(d["n_forget"]) for d in data if isinstance(d, Mapping) and "n_forget" in d})
    each = f"{' or '.join(map(str, asked))} per class, " if asked else ""
    return f"{each}{runs[0].record.provenance.set_sizes.get('forget', 0)} in all"
