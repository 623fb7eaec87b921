"""The numbers behind the papers' figures, read from recorded runs: what a plot shows, a table beside it
lists.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from razor_cli.runs.folder import Run
from razor_cli.tables.cells import Number
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.flips import shown
from razor_cli.tables.layout import KEY, Line, panel, plural
from razor_cli.tables.selection import UNEDITED, Sample, by_model, flips, sample, usable
from razor_cli.tables.table3 import MEASURES

SHOWN = tuple(m for m in MEASURES if m.key in ("m1", "m4", "m5"))  # Figure 5 draws these
HELD = {
    "step",
    "trim_steps",
    "grow_rounds",
    "early_stop",
    "search_steps",
    "retries",
}  # what a sweep of fixed steps also settles
SIZES = ("step_size", "lr")  # the knob of a method that searches, and of one that trains
FILE = "cosines.csv"


@dataclass(frozen=True, kw_only=True)
class Curve:
    """How M1, M4 and M5 of one method follow its step size or learning rate: knob value ->
    measure -> sample.
    """

    method: str
    knob: str
    points: Mapping[float, Mapping[str, Sample]]


def curves(runs: Sequence[Run]) -> list[Curve]:
    """Return the sweeps among runs of one model: fixed steps, or learning rates with the preset's own among
    them.
    """
    values: dict[tuple[str, str, str], dict[float, list[Run]]] = {}
    for run in runs:
        found, method = flips(run), run.record.settings.get("method")
        if not isinstance(method, Mapping) or run.record.method in UNEDITED:
            continue
        knob = "step_size" if method.get("step") == "fixed" else "lr" if "lr" in method else ""
        if knob and set(found) <= HELD | {knob}:
            rest = ", ".join(
                f"{k}={shown(v)}" for k, v in found.items() if k != knob
            )  # sweeps under other rules are other curves
            values.setdefault((run.record.method, knob, rest), {}).setdefault(float(method[knob]), []).append(
                run
            )
    swept = {place: by_value for place, by_value in values.items() if len(by_value) > 1}
    alike = Counter((method, knob) for method, knob, _ in swept)
    return [
        Curve(
            method=f"{method} ({rest})" if alike[method, knob] > 1 and rest else method,
            knob=knob,
            points={x: {m.key: sample(own, m) for m in SHOWN} for x, own in sorted(by_value.items())},
        )
        for (method, knob, rest), by_value in sorted(swept.items())
    ]


def swept(runs: Sequence[Run]) -> dict[str, list[Curve]]:
    """Return the curves by scenario and model, as a panel's title names them."""
    own = usable(runs, plain=False)
    found = {}
    for scenario in sorted({r.record.scenario for r in own}):
        for model, chosen in by_model([r for r in own if r.record.scenario == scenario]).items():
            held = _same_points(chosen)
            if lines := curves(held):
                targets = sorted({r.record.target for r in held})
                found[f"{model}, {scenario}: {plural(len(targets), 'target', targets)}"] = lines
    return found


def _same_points(runs: Sequence[Run]) -> list[Run]:
    """Return the runs on targets and seeds that were swept: a preset's other runs would make its point
    another sample.
    """
    places = {(r.record.target, r.record.seed) for r in runs if set(flips(r)) & set(SIZES)}
    return [r for r in runs if (r.record.target, r.record.seed) in places]


def figure5(runs: Sequence[Run]) -> Document:
    """Return the sweeps as a table."""
    panels = []
    for title, lines in swept(runs).items():
        rows = [
            Line(
                labels=(curve.method, f"{curve.knob}={value:g}"),
                name=f"{curve.method} {value}",
                samples=samples,
            )
            for curve in lines
            for value, samples in curve.points.items()
        ]
        panels.append(panel(title, ("method", "size"), rows, SHOWN, against=()))
    notes = [
        "Published Figure 5 sweeps a 'learning rate' from 1e-5 to 1e-20 and says that larger ones forget "
        "better; below about "
        "1e-8 of a weight a step changes nothing in 32 bit.",
        "Measured: the fixed step of RAZOR relative to a component's norm, and the learning rate of "
        "methods that train.",
        *KEY[:1],
    ]
    notes += [] if panels else ["Nothing measured: razor-run experiment=figure5"]
    return Document(
        name="figure5",
        title="RAZOR Figure 5, step size and learning rate, measured",
        panels=panels,
        notes=notes,
    )


@dataclass(frozen=True, kw_only=True)
class Matrices:
    """Text-image cosines of one target before and after each method: [concepts, prompts], the
    target first.
    """

    title: str
    names: tuple[str, ...]
    before: NDArray[np.float64]
    after: Mapping[str, NDArray[np.float64]]


def read_cosines(text: str) -> tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.float64]]:
    """Return names, cosines before and after [n, n] from the text of a run's cosines.csv."""
    rows = list(csv.DictReader(text.splitlines()))
    names = tuple(dict.fromkeys(r["concept"] for r in rows))
    before, after = (
        np.array([float(r[k]) for r in rows]).reshape(len(names), -1) for k in ("before", "after")
    )
    return names, before, after


def matrices(runs: Sequence[Run]) -> list[Matrices]:
    """Return one set per scenario and model: the target that most methods were recorded on, its
    first seed.
    """
    own = [r for r in usable(runs) if r.record.method not in UNEDITED and r.has(FILE)]
    found = []
    for scenario in sorted({r.record.scenario for r in own}):
        for model, chosen in by_model([r for r in own if r.record.scenario == scenario]).items():
            groups: dict[tuple[str, int], list[Run]] = {}
            for run in chosen:
                groups.setdefault((run.record.target, run.record.seed), []).append(run)
            most = {k: len({r.record.method for r in own}) for k, own in groups.items()}
            target, seed = min(groups, key=lambda k: (-most[k], k[1], k[0]))
            drawn = {r.record.method: read_cosines(r.read(FILE)) for r in groups[target, seed]}
            names, before, _ = next(iter(drawn.values()))
            after = {method: last for method, (labels, _, last) in drawn.items() if labels == names}
            found.append(
                Matrices(
                    title=f"{model}, {scenario}: {target}, seed {seed}",
                    names=names,
                    before=before,
                    after=after,
                )
            )
    return found


def _cosine(value: float, sign: str = "") -> str:
    return Number(f"{value:{sign}.3f}", float(value), seeds=1)


def figure6(runs: Sequence[Run]) -> Document:
    """Return what the matrices come to: the target's own cosine, and the mean change of all other cells."""
    panels = []
    for found in matrices(runs):
        rows: list[tuple[str, ...]] = []
        for method, after in found.after.items():
            change = after - found.before
            others = change[1:, 1:]
            own = _cosine(found.before[0, 0]), _cosine(after[0, 0])
            rest = _cosine(change[0, 1:].mean(), "+"), _cosine(np.abs(others).mean())
            rows.append((method, found.names[0], *own, *rest))
        columns = (
            "method",
            "target",
            "own cosine before",
            "after ↓",
            "with other prompts, Δ",
            "others among themselves, |Δ| ↓",
        )
        panels.append(Panel(title=found.title, columns=columns, rows=rows))
    notes = [] if panels else ["Nothing measured (runs record cosines.csv): razor-run experiment=compare"]
    return Document(
        name="figure6",
        title="RAZOR Figure 6, text-image cosines before and after, measured",
        panels=panels,
        notes=notes,
    )
