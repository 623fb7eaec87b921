"""Do full-model methods suffer more from quantization? Edit size against codes changed against recovery, all
methods.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from razor_cli.runs.folder import Run
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.layout import KEY, Line, half_width, mean_cell, panel, plural
from razor_cli.tables.selection import (
    UNEDITED,
    Measure,
    Sample,
    by_model,
    left_out,
    sample,
    survival,
    usable,
    versions,
)
from razor_cli.tables.table3 import MEASURES

TITLE = "Edit size, codes changed, and what quantization brings back, measured"
SCHEMES = {"int8": "8bit", "int4": "4bit"}
LOCAL = 0.5  # an edit is local when it moves less than this share of the model's weights
SIZE = Measure(key="size", title="edit size", unit="%", metric="survival.rel_update", scale=100.0, digits=3)
NOTES = (
    "Edit size: norm of the change over norm of all weights. Codes changed: share of all integer codes "
    "in the quantized scope "
    "that differ from those of the unedited model. Recovery: share of the forgetting (M1, mean of the "
    "other prompts) that "
    "quantization undoes; 0 is none, below 0 it forgets more; not computed where an edit forgot too "
    "little to have a share of.",
    f"local: the edit moves less than {100 * LOCAL:.0f} % of the model's weights; full-model: all others.",
    "The paper's claim: methods that change the whole model suffer more from quantization than local "
    "edits. It prints no edit "
    "sizes and no share of codes, and its quantized rows cannot be used (note of Table 3).",
    *KEY,
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method at one width: means over runs, for the table and the plot."""

    method: str
    scheme: str
    local: bool
    size: Sample
    codes: Sample
    recovery: Sample


def recovery(scheme: str, key: str = "rec", title: str = "recovery") -> Measure:
    """Return the column of what one width undoes of the forgetting."""
    return Measure(
        key=key,
        title=title,
        unit="→0",
        metric="rec",
        variant="dual/mean_of_classes",
        direction="zero",
        quantization=scheme,
    )


def measures(scheme: str) -> tuple[Measure, ...]:
    """Return the columns of one width."""
    m1, m5 = (next(m for m in MEASURES if m.key == key) for key in ("m1", "m5"))
    codes = Measure(
        key="codes",
        title="codes changed",
        unit="%",
        metric="survival.codes_changed",
        quantization=scheme,
        scale=100.0,
    )
    return (
        SIZE,
        codes,
        recovery(scheme),
        replace(m1, quantization=scheme),
        replace(m1, key="m1f", title="M1 at full precision"),
        replace(m5, quantization=scheme),
    )


def grouped(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return runs by model and scenario, as a panel's title names them."""
    found = {}
    for scenario in sorted({r.record.scenario for r in runs}):
        for model, own in by_model([r for r in runs if r.record.scenario == scenario]).items():
            found[f"{model}, {scenario}"] = own
    return found


def points(runs: Sequence[Run]) -> list[Point]:
    """Return a point per method and width among runs of one model."""
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        if run.record.method not in UNEDITED:
            by_method.setdefault(run.record.method, []).append(run)
    found = []
    for method, every in sorted(by_method.items()):
        for scheme in SCHEMES:
            own = quantized(every, scheme)
            size, codes, undone = (sample(own, m) for m in measures(scheme)[:3])
            if codes:
                found.append(
                    Point(
                        method=method,
                        scheme=scheme,
                        local=is_local(own),
                        size=size,
                        codes=codes,
                        recovery=undone,
                    )
                )
    return found


def quantized(runs: Sequence[Run], scheme: str) -> list[Run]:
    """Return the runs that quantized their edit that way: what a row says of an edit, it says of these."""
    return [run for run in runs if survival(run, scheme)]


def is_local(runs: Sequence[Run]) -> bool:
    """Tell whether an edit moves a small share of the model's weights, by the mean over runs."""
    rows = [survival(run, "none") for run in runs]
    return statistics.mean(int(r["moved"]) / int(r["weights"]) for r in rows) < LOCAL


def build(runs: Sequence[Run]) -> Document:
    """Return a panel per model and width, and what the claim comes to."""
    every = usable(runs)
    panels, notes = [], list(NOTES)
    for where, own in grouped(every).items():
        found = points(own)
        panels += [p for scheme in SCHEMES if (p := _panel(where, own, found, scheme))]
        notes += [f"{where}: {sentence}" for sentence in claim(found)]
    if not panels:
        notes.append("Nothing measured: razor-run experiment=quantization_claim")
    return Document(
        name="quantization",
        title=TITLE,
        panels=panels,
        notes=[*notes, *left_out(runs, lambda _: True), *versions(every)],
    )


def _panel(where: str, runs: Sequence[Run], found: Sequence[Point], scheme: str) -> Panel | None:
    """Return the panel of one width; None if nothing was quantized that way."""
    lines, targets = [], set()
    for point in [p for p in found if p.scheme == scheme]:
        chosen = quantized([r for r in runs if r.record.method == point.method], scheme)
        targets |= {r.record.target for r in chosen}
        samples = {m.key: sample(chosen, m) for m in measures(scheme)}
        lines.append(
            Line(
                labels=(point.method, "local" if point.local else "full-model"),
                name=point.method,
                samples=samples,
            )
        )
    title = f"{SCHEMES[scheme]} | {where}: {plural(len(targets), 'target', sorted(targets))}"
    return panel(title, ("method", "kind"), lines, measures(scheme), against=("razor",)) if lines else None


def claim(found: Sequence[Point]) -> list[str]:
    """Return per width how local and full-model methods recover, one mean per method, and whether the claim
    holds.
    """
    sentences = []
    for scheme, width in SCHEMES.items():
        own = [p for p in found if p.scheme == scheme and p.recovery]
        groups = {
            kind: [statistics.mean(p.recovery.values()) for p in own if p.local is kind]
            for kind in (True, False)
        }
        if not groups[True] or not groups[False]:
            continue
        local, full = groups[True], groups[False]
        apart = _apart(local, full)
        verdict = {1: "as claimed", -1: "against the claim", 0: "not told apart"}[apart]
        sentences.append(
            f"recovery at {width}: {plural(len(full), 'full-model method')} {mean_cell(full)}, "
            f"{plural(len(local), 'local one')} {mean_cell(local)}: {verdict}."
        )
    return sentences


def _apart(local: Sequence[float], full: Sequence[float]) -> int:
    """Return 1 where full-model methods recover more, -1 where less, 0 where intervals touch or a kind has
    one method.
    """
    widths: Mapping[str, float | None] = {"local": half_width(local), "full": half_width(full)}
    if None in widths.values():
        return 0
    gap = statistics.mean(full) - statistics.mean(local)
    return 0 if abs(gap) <= sum(w or 0.0 for w in widths.values()) else 1 if gap > 0 else -1
