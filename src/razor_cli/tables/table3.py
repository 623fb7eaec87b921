"""Table 3 of RAZOR: M1 to M5 of every method on three data sets, in full precision, 8 and 4 bit; published beside measured."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources

from scipy import stats

from razor_cli.results import Run
from razor_cli.tables.base import Document, Panel

TITLE = "RAZOR Table 3, CLIP: published numbers beside measured ones"
# (published data set, recorded scenario, its embedded data, what the measured column is)
PAIRS = (
    ("CIFAR-10", "class", "cifar10", "CIFAR-10 photographs"),
    ("ImageNet", "object", "emoji", "emoji (in place of ImageNet)"),
    ("LAION-400M", "identity", "portraits", "drawn portraits (in place of LAION-400M)"),
)
OWN = ("folder", "webdataset")  # a user's own pictures; the title names them
READINGS = {
    "M1": ("m1", "dual/mean_of_classes"),
    "M2": ("m2", "prompt"),
    "M3": ("m3", "retain_sq_drift/x100/base"),
    "M4": ("m4", "dual/generic"),
    "M5": ("m5", "retrieval/base"),
}
ARROWS = {"M1": "↓ %", "M2": "↓ ×100", "M3": "→0 ×100", "M4": "↑ %", "M5": "↑"}
WIDTHS = {"none": "none", "int8": "8bit", "int4": "4bit"}
PUBLISHED = {"razor": "RAZOR", "razor_paper": "RAZOR", "slug": "SLUG", "slug_code": "SLUG"}
UNRUN = ("SSD", "LoTUS", "SalUn")
NOTES = (
    "Published numbers are of real CLIP models, measured ones of the model named in each header. They share no column and no "
    "unit of difficulty; compare orderings, not values.",
    "The paper does not say which retain prompt, label space, drift set or utility it uses. Measured: M1 against the mean of the "
    "other classes' prompts, M3 on retain pictures, M4 against the generic prompt, M5 as retrieval R@1.",
    "Published 8- and 4-bit rows cannot be right as printed: 81 of 120 cells are the full-precision value times one factor per "
    "column, M3 is 0.00 in all 30 rows (also where full precision has 1.28), and SSD's 4-bit M5 is 96.63 on all three data sets. "
    "Compare at most the sign of a change.",
    "Published SalUn on ImageNet: 8-bit M2 34.24 stands between 24.00 (none) and 24.08 (4 bit): a slip of 10?",
    "The paper prints no row for the unedited model and no spread.",
)


def build(runs: Sequence[Run]) -> Document:
    """Return the table from recorded runs; it computes no score, only means over runs."""
    published = read_published()
    panels = []
    for dataset, scenario, kind, label in PAIRS:
        chosen = latest([r for r in runs if r.record.scenario == scenario and r.record.data in (kind, *OWN)])
        for model in sorted({r.record.model for r in chosen}) or [""]:
            own = [r for r in chosen if r.record.model == model]
            panels.append(_panel(dataset, scenario, label, model, own, published))
    return Document(name="table3", title=TITLE, panels=panels, notes=list(NOTES))


def latest(runs: Sequence[Run]) -> list[Run]:
    """Return one run per model, method, data, target and seed, the last one: a sweep over settings is no larger sample."""
    newest: dict[tuple[object, ...], Run] = {}
    for run in sorted(runs, key=lambda r: r.record.provenance.finished):
        r = run.record
        newest[(r.model, r.method, r.data, r.target, r.seed)] = run
    return list(newest.values())


def read_published() -> dict[tuple[str, str, str], Mapping[str, str]]:
    """Return the printed cells by data set, method and width."""
    text = resources.files("razor_cli.tables").joinpath("published/razor_table3.csv").read_text(encoding="utf-8")
    return {(r["dataset"], r["method"], r["quant"]): r for r in csv.DictReader(text.splitlines())}


def _panel(
    dataset: str,
    scenario: str,
    label: str,
    model: str,
    runs: list[Run],
    published: Mapping[tuple[str, str, str], Mapping[str, str]],
) -> Panel:
    marked = [r.record.stand_in for r in runs]
    personal = sorted({r.record.data for r in runs} & set(OWN))
    label = f"own pictures ({', '.join(personal)})" if personal else label
    named = f"{model}{' STAND-IN' if any(marked) else ''}, {label}" if runs else f"nothing measured on {label}"
    targets = sorted({r.record.target for r in runs})
    title = f"{dataset} as published | {named}" + (f": {len(targets)} targets ({', '.join(targets)})" if targets else "")
    columns = (
        "method",
        "weights",
        *(f"published {m} {ARROWS[m]}" for m in READINGS),
        *(f"measured {m} {ARROWS[m]}" for m in READINGS),
        "runs",
    )
    rows: list[tuple[str, ...]] = []
    methods = list(dict.fromkeys(r.record.method for r in runs if r.record.method not in ("none", "random")))
    unedited = [r for r in runs if r.record.method != "random"]
    rows += _measured_rows("unedited", "base", unedited, None, published, dataset)
    for method in methods:
        own = [r for r in runs if r.record.method == method]
        rows += _measured_rows(f"control of {method}", "control", own, None, published, dataset)
        rows += _measured_rows(method, "edit", own, PUBLISHED.get(method), published, dataset)
    missing = [m for m in ("RAZOR", "SLUG") if m not in {PUBLISHED.get(x) for x in methods}]
    for method in (*missing, *UNRUN):
        rows += _published_rows(method, scenario, dataset, published)
    return Panel(title=title, columns=columns, rows=rows)


def _measured_rows(
    name: str,
    state: str,
    runs: list[Run],
    printed: str | None,
    published: Mapping[tuple[str, str, str], Mapping[str, str]],
    dataset: str,
) -> list[tuple[str, ...]]:
    rows = []
    for width, label in WIDTHS.items():
        cells = published.get((dataset, printed or "", label), {})
        left = tuple(cells.get(m.lower(), "–") or "–" for m in READINGS)
        values = [_values(runs, state, width, *READINGS[m]) for m in READINGS]
        if not runs:
            continue
        count = max(map(len, values), default=0)
        right = [mean_cell(v) for v in values] if count else [f"not run: quantization={width} was not asked for", "", "", "", ""]
        rows.append((name, label, *left, *right, str(count)))
    return rows


def _published_rows(
    method: str, scenario: str, dataset: str, published: Mapping[tuple[str, str, str], Mapping[str, str]]
) -> list[tuple[str, ...]]:
    own = {"RAZOR": "razor", "SLUG": "slug"}.get(method)
    source = " data=cifar10" if scenario == "class" else ""
    why = f"no run recorded: razor-run method={own} scenario={scenario}{source}" if own else "not run: no such method here yet"
    rows = []
    for label in WIDTHS.values():
        cells = published[(dataset, method, label)]
        rows.append((method, label, *(cells[m.lower()] for m in READINGS), why, "", "", "", "", "0"))
    return rows


def _values(runs: Iterable[Run], state: str, width: str, metric: str, variant: str) -> list[float]:
    found = []
    for run in runs:
        for row in run.scores:
            s = row.score
            if (row.state, row.quantization, s.metric, s.variant) == (state, width, metric, variant) and s.value is not None:
                found.append(s.value)
    return found


def mean_cell(values: Sequence[float]) -> str:
    """Return the mean over runs with the half-width of its 95 % t interval, `–` without values."""
    if not values:
        return "–"
    mean = statistics.mean(values)
    if len(values) == 1:
        return f"{mean:.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return f"{mean:.2f} ± {half:.2f}"
