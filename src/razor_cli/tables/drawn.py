"""What edits of models that draw forgot and kept: UA, IRA and CRA of every method, target by target and in
the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from razor_cli.metrics.stats import wilson
from razor_cli.runs.folder import Run
from razor_cli.tables.cells import Number
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.heads import head_of
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import ABSENT, KEY, Line, panel, plural
from razor_cli.tables.selection import Measure, by_model, left_out, sample, usable, versions

TITLE = "Models that draw: what every edit forgot and kept"
FAMILY = "diffusion"
UNEDITED = "none"
BENCHMARK, UNSEEN = "benchmark", "templates"
WIDTHS = ("none", "int8", "int4", "bnb_int8", "nf4", "fp4")


def _accuracy(key: str, title: str, variant: str = BENCHMARK) -> Measure:
    return Measure(
        key=f"{key} {variant}", title=title, unit="↑ %", metric=key, variant=variant, direction="up"
    )


SHARES = (  # of pictures, so that targets have Wilson intervals
    _accuracy("ua", "UA"),
    _accuracy("ua_valid", "valid UA"),
    _accuracy("ira", "IRA"),
    _accuracy("cra", "CRA"),
    _accuracy("near", "near it"),
    Measure(
        key="rejects",
        title="nothing known",
        unit="↓ %",
        metric="rejects",
        variant=BENCHMARK,
        direction="down",
    ),
    _accuracy("ua", "UA, other sentences", UNSEEN),
    _accuracy("ira", "IRA, other sentences", UNSEEN),
    _accuracy("cra", "CRA, other sentences", UNSEEN),
)
COST = (
    Measure(key="seconds", title="edit", unit="↓ s", metric="cost.seconds", direction="down", digits=1),
    Measure(key="drawn", title="drawn", unit="↓ pictures", metric="cost.drawn", direction="down", digits=0),
    Measure(
        key="patch",
        title="patch",
        unit="↓ KB",
        metric="cost.patch_bytes",
        direction="down",
        scale=2**-10,
        digits=0,
    ),
)
NOTES = (
    "UA: pictures asked of the target that the judge does not take for it; valid UA: those that also show "
    "what else was asked for. IRA and CRA: accuracy on other names of the kind, and on what else pictures "
    "show. near it: IRA of the nearest names. nothing known: pictures of the target that the judge takes for "
    "none of its names.",
    "Pictures by the benchmark's sentence, and by two others that neither gradients nor searches use. No "
    "search saw a seed of them or asked the classifier that judges them.",
    "Target by target: pictures of all seeds together, with the Wilson interval at 95 % of their share.",
    *KEY,
)


def build(runs: Sequence[Run]) -> Document:
    """Return two panels for each scenario and model: means over targets with costs, and each target."""
    own = [r for r in usable(runs) if r.record.family == FAMILY]
    panels: list[Panel] = []
    for scenario in sorted({r.record.scenario for r in own}):
        for model, found in by_model([r for r in own if r.record.scenario == scenario]).items():
            targets = sorted({r.record.target for r in found})
            seeds = plural(len({r.record.seed for r in found}), "seed")
            where = f"{scenario} | {model}: {plural(len(targets), 'target', targets)}, {seeds}"
            lines = list(_means(found))
            panels.append(panel(where, ("method", "weights"), lines, (*SHARES, *COST), against=()))
            panels += [_each(f"{scenario} | {model}: {target}", _of(found, target)) for target in targets]
    notes = [*NOTES, *left_out(runs, lambda r: r.record.family == FAMILY), *versions(own)]
    return Document(name="drawn", title=TITLE, panels=panels or [_nothing()], notes=notes)


def _nothing() -> Panel:
    why = Line(labels=("razor", ""), why=not_run("drawn"))
    return panel("nothing measured", ("method", "weights"), [why], SHARES)


def _of(runs: Sequence[Run], target: str) -> list[Run]:
    return [r for r in runs if r.record.target == target]


def _rows(runs: Sequence[Run]) -> Iterable[tuple[str, str, str, list[Run]]]:
    """Return (method, state, width, runs) of every row: the unedited model once, then every method."""
    methods = sorted({r.record.method for r in runs} - {UNEDITED}, key=lambda m: (m != "razor", m))
    for method, state in ((UNEDITED, "base"), *((m, "edit") for m in methods)):
        own = [r for r in runs if method in (r.record.method, UNEDITED)]
        there = {row.quantization for r in own for row in r.scores if row.state == state}
        for width in WIDTHS:
            if width in there:
                yield method, state, width, own


def _means(runs: Sequence[Run]) -> Iterable[Line]:
    for method, state, width, own in _rows(runs):
        samples = {m.key: sample(own, m, state=state, quantization=width) for m in (*SHARES, *COST)}
        name, role = ("unedited", "base") if state == "base" else (method, "method")
        yield Line(labels=(name, width), group=width, role=role, name=name, samples=samples)


def _each(title: str, runs: Sequence[Run]) -> Panel:
    rows = []
    for method, state, width, own in _rows(runs):
        pictures = [_pooled(own, m, state, width) for m in SHARES]
        rows.append(("unedited" if state == "base" else method, width, *pictures))
    heads = ("method", "weights", *map(head_of, SHARES))
    return Panel(title=title, columns=heads, rows=rows, width=1)


def _pooled(runs: Sequence[Run], measure: Measure, state: str, width: str) -> str:
    """Return a share over the pictures of all seeds with its interval. Runs that drew the same pictures, as
    all methods do of the unedited model, count once.
    """
    counted: dict[int, tuple[float, int]] = {}
    for run in runs:
        for row in run.scores:
            place = (row.state, row.quantization, row.score.metric, row.score.variant)
            asked = (state, width, measure.metric, measure.variant)
            if place == asked and row.score.value is not None and row.score.n:
                counted[run.record.seed] = (row.score.value * row.score.n / 100, row.score.n)
    hits, n = (sum(part) for part in zip(*counted.values(), strict=True)) if counted else (0.0, 0)
    if not n:
        return ABSENT
    found = wilson(min(hits, n), n)
    share, seeds = found.scaled(100), len(counted)
    bounds = "" if share.low is None or share.high is None else f" [{share.low:.1f}, {share.high:.1f}]"
    text = f"{share.value:.1f}{bounds} ({n})"
    return Number(text, share.value, interval=(share.low, share.high), n=n, seeds=seeds)
