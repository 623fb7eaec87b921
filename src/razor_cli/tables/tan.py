"""Tan & Gong's tables on a two-level taxonomy: forget fine labels, keep coarse ones (arXiv 2506.11253, Tables
2-4 and 10-16).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from razor_cli.config.conf_files import option_of
from razor_cli.runs.folder import Run
from razor_cli.tables.base import Document, Panel
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

SCENARIO = "fine_grained"
NHL = "nhl_kl_tan"
METHODS = {  # printed name, lower case and without "(ours)": presets of ours, that for taxonomies first
    "ga": ("ga_tan", "ga_tan_paper", "ga_tan_cars"),
    "gdiff": ("gdiff_tan", "gdiff", "gdiff_paper", "gdiff_cars"),
    "ga+kl": ("ga_kl_tan", "ga_kl", "ga_kl_paper", "ga_kl_cars"),
    "npo+kl": ("npo_kl_tan", "npo_kl", "npo_kl_paper", "npo_kl_cars"),
    "relabeling": ("relabel_tan", "relabel", "relabel_paper", "relabel_cars"),
    "task vector": ("task_vector_tan", "task_vector", "task_vector_paper", "task_vector_cars"),
    "salun": ("salun_tan", "salun_tan_paper", "salun_tan_cars"),
    "me+gd": ("me_gd_tan", "me_gd", "me_gd_paper", "me_gd_cars"),
    "nhl+kl": (NHL, "nhl_kl", "nhl_kl_paper", "nhl_kl_cars"),
}
ORIGIN = ("origin clip", "clip")
ACCURACIES = (
    ("df_coarse", "D_f coarse", "up"),
    ("df_fine", "D_f fine", "down"),
    ("dr_coarse", "D_r coarse", "up"),
    ("dr_fine", "D_r fine", "up"),
)
RATIOS = (("quality", "Q", "up"), ("utility", "U", "up"), ("q_u", "Q-U", "up"))
ARROWS = {"up": "↑ %", "down": "↓ %"}
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


@dataclass(frozen=True, kw_only=True)
class Shape:
    """One of the tables: its published file, and which recorded runs stand beside it."""

    name: str
    title: str
    file: str
    experiment: str
    targets: tuple[str, ...] = (
        "difficult",
        "ImgnetDogs Difficult",
    )  # what the level is called, embedded and on the real pictures
    kind: str = "emoji"  # the embedded taxonomy
    split: str = "in"  # variant of the metrics: in distribution, or ood
    keys: tuple[str, ...] = ("df_coarse", "df_fine", "dr_coarse", "dr_fine", "quality", "utility", "q_u")
    beside: str = "ImgnetDogs"


SHAPES = {
    s.name: s
    for s in (
        Shape(
            name="tan2",
            title="Table 2, difficult classes",
            file="tan_table2",
            experiment="tan_table2",
            keys=("df_coarse", "df_fine", "dr_coarse", "dr_fine", "quality", "utility", "q_u", "zero_shot"),
            beside="ImgnetDogs Difficult",
        ),
        Shape(
            name="tan4",
            title="Table 4, out of distribution: Q, U, Q-U",
            file="tan_table4",
            experiment="tan_table2",
            split="ood",
            keys=("quality", "utility", "q_u"),
            beside="ImgnetDogs, tested on OxfordPet",
        ),
        Shape(
            name="tan11",
            title="Table 11, out of distribution",
            file="tan_table11",
            experiment="tan_table2",
            split="ood",
            beside="ImgnetDogs, tested on OxfordPet",
        ),
        Shape(
            name="tan12",
            title="Table 12, medium classes",
            file="tan_table12",
            experiment="tan_table12",
            targets=("medium", "ImgnetDogs Medium"),
            beside="ImgnetDogs Medium",
        ),
        Shape(
            name="tan13",
            title="Table 13, easy classes",
            file="tan_table13",
            experiment="tan_table13",
            targets=("easy", "ImgnetDogs Easy"),
            beside="ImgnetDogs Easy",
        ),
        Shape(
            name="tan15",
            title="Table 15, a second taxonomy",
            file="tan_table15",
            experiment="tan_table15",
            kind="portraits",
            targets=("four portraits", "CompCars-S"),
            beside="CompCars-S",
        ),
    )
}


def measures(keys: Sequence[str], split: str) -> list[Measure]:
    """Return the columns of a table; `zero_shot` has one variant, the others one per split."""
    known = {k: (t, d) for k, t, d in (*ACCURACIES, *RATIOS)}
    return [
        Measure(key=k, title="zero-shot", unit="↑ %", metric=k, variant="mean", direction="up")
        if k == "zero_shot"
        else Measure(
            key=k, title=known[k][0], unit=ARROWS[known[k][1]], metric=k, variant=split, direction=known[k][1]
        )
        for k in keys
    ]


def plain_name(printed: str) -> str:
    """Return a printed method name as METHODS spells it."""
    return printed.lower().removesuffix("(ours)").strip()


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
            preset = option_of("method", presets[0])
            why = f"no run recorded: razor-run experiment={shape.experiment} method={preset}"
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
        for level, runs_of in by_level.items():
            own = [r for r in by_model(runs_of).get(model, [])]
            nhl = [r for r in own if r.record.method == NHL]
            for name, state, key, found in (("unedited", "base", "clip", nhl), (NHL, "edit", "nhl+kl", nhl)):
                made = line(name, found, columns, state, printed[level, key], role="base")
                preset = option_of("method", NHL)
                why = f"no run recorded: razor-run experiment=tan_{LEVEL_FILES[level]} method={preset}"
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
                panels.append(panel(title, ("method", ""), lines, columns))
    notes = list(KEY) if panels else ["Nothing measured: razor-run experiment=tan_regularizers"]
    return Document(
        name="regularizers",
        title="Tan & Gong's regularisers added to each of their methods, measured",
        panels=panels,
        notes=notes,
    )
