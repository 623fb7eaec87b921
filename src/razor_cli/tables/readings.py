"""Which reading of RAZOR works: recorded runs of a preset with one switch flipped, beside the preset on the
same pictures.

A flip needs no label: it is what a run's recorded settings and the preset's yaml file disagree on.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from scipy import stats

from razor_cli.runs.folder import Run
from razor_cli.tables.cells import DIFFERENCE, Heading, Meaning, Number, aside, remark
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.flipped_runs import ATTEMPTS, FIRST, Reading, readings
from razor_cli.tables.layout import WITHOUT, some
from razor_cli.tables.reached import MISSING, SHOWN

TITLE = "Which reading of RAZOR works: one switch flipped at a time"
PRESETS = ("razor_paper", FIRST, "razor")  # what switches are flipped from
COLUMNS = (
    "switch",
    "value",
    remark("met"),
    *SHOWN,
    "seconds",
    "passes, 1000",
)
DELTAS = {  # column: head of its difference
    MISSING: "missing",
    "M1 mean ↓ %": "M1 mean",
    "M5 ↑ %": "M5",
    "others' drop ↓": "others' drop",
    "passes, 1000": "passes",
}
NOTES = (
    "Every run is scored on validation pictures that its own search did not see; no evaluation picture "
    "takes part.",
    "met: runs whose values keep all five bounds of the scenario (both M1, M4 drop, M5, others' drop), "
    "of all runs. missing: "
    "points by which the values miss these bounds, added up; 0 is met. Rows are in the order of Δ "
    "missing, best first.",
    "Δ: flipped minus preset on the same weights, pictures, target and seed, mean ± half-width of the 95 "
    "% t interval over "
    "pairs; * marks an interval without 0. There is none for one pair, or when all pairs are equal. "
    "Nothing is corrected for "
    "the number of rows: of twenty idle switches one gets a *.",
    "without: targets of other rows that are not in this one's means. Differences are over pairs, so they "
    "are of the same targets.",
    "razor, one attempt: the recommended preset with retries=[]; further attempts step in where a switch "
    "does harm.",
    "seconds and passes are the edit's; a pass is one picture sent forward or backward through a tower. "
    "Gradients of the "
    "unedited model come from a cache after the first run that needs them, so later runs with the same "
    "ones cost less.",
)


def build(runs: Sequence[Run]) -> Document:
    """Return the table: panels per preset, model and scenario, and over all models where there
    are several.
    """
    found = readings(runs)
    models = sorted({r.model for r in found})
    panels, notes = [], list(NOTES)
    flipped_from = {r.preset for r in found if r.flip}
    for preset in PRESETS:
        if preset == "razor" and preset not in flipped_from and any(r.preset == FIRST for r in found):
            continue  # it stands in the panel of its first attempt
        for model in [None, *models] if len(models) > 1 else models:
            own = [r for r in found if model in (None, r.model)]
            if not any(r.preset == preset for r in own):
                continue
            panels += panels_of(own, preset, model or "all models: " + ", ".join(models))
            if model is None or len(models) == 1:
                notes.append(conclusion(own, preset))
    if not panels:
        notes.append("No run of RAZOR with judged_on=validation is recorded: razor-run experiment=readings")
    if len(versions := {r.code for r in found}) > 1:
        notes.append(
            f"The runs were computed by {len(versions)} versions of the code; a difference may come from "
            "that."
        )
    return Document(name="readings", title=TITLE, panels=panels, notes=notes)


def panels_of(found: Sequence[Reading], preset: str, where: str) -> list[Panel]:
    """Return a preset's panels, one of each scenario: names and classes have bounds of their own."""
    panels = []
    for scenario in sorted({str(r.context[2]) for r in found if r.preset == preset}):
        own = [r for r in found if r.context[2] == scenario]
        lines = rows(own, preset)
        targets = sorted({t for line in lines for t in line.targets})
        lacking = [some(sorted({*targets} - line.targets)) for line in lines]
        told = [(lacked or "–",) for lacked in lacking] if any(lacking) else [()] * len(lines)
        panels.append(
            Panel(
                title=f"{preset}, flipped | {where} | {scenario} {', '.join(targets)}",
                columns=(
                    *COLUMNS,
                    *(Heading(f"Δ {d}", Meaning(metric=d, source=DIFFERENCE)) for d in DELTAS.values()),
                    *([remark(WITHOUT)] if any(lacking) else []),
                    aside("pairs"),
                ),
                rows=[(*line.cells, *t, line.pairs) for line, t in zip(lines, told, strict=True)],
            )
        )
    return panels


@dataclass(frozen=True, kw_only=True)
class Row:
    """A row: its cells but the last, which counts pairs, and the targets that its means are over."""

    cells: tuple[str, ...]
    pairs: str
    targets: Set[str]


def rows(found: Sequence[Reading], preset: str) -> list[Row]:
    """Return the preset's row, those of the other presets as flips of much, and one per flip, best first."""
    plain = {r.context: r for r in found if r.preset == preset and not r.flip}
    flips: dict[tuple[tuple[str, str], ...], list[Reading]] = {}
    for r in found:
        if r.preset == preset and r.flip:
            flips.setdefault(r.flip, []).append(r)
    lines = [
        (_order(differences(own, plain)), _row(*_named(flip), own, plain)) for flip, own in flips.items()
    ]
    lines.sort(key=lambda line: (line[0], line[1].cells[:2]))
    head = [_row("preset", preset, list(plain.values()), {})] if plain else []
    swap = []
    for other in PRESETS:
        if other != preset and (own := [r for r in found if r.preset == other and not r.flip]):
            label = ATTEMPTS if "razor_paper" not in (other, preset) else "every switch"
            swap.append(_row(label, other, own, plain))
    return head + swap + [line for _, line in lines]


def _named(flip: Iterable[tuple[str, str]]) -> tuple[str, str]:
    keys, values = zip(*flip, strict=True)
    return ", ".join(keys), ", ".join(values)


def differences(
    own: Sequence[Reading], plain: Mapping[tuple[object, ...], Reading]
) -> dict[str, list[float]]:
    """Return flipped minus preset of every column, one number per pair of the same context."""
    pairs = [(r.values, plain[r.context].values) for r in own if r.context in plain]
    return {
        column: [a[column] - b[column] for a, b in pairs if column in a and column in b] for column in DELTAS
    }


def _order(delta: Mapping[str, Sequence[float]]) -> tuple[float, ...]:
    """Return what rows are sorted by: the effect on the missing points, then on M1; rows without a pair come
    last.
    """
    return tuple(statistics.mean(delta[c]) if delta[c] else float("inf") for c in (MISSING, "M1 mean ↓ %"))


def _row(switch: str, value: str, own: Sequence[Reading], plain: Mapping[tuple[object, ...], Reading]) -> Row:
    judged = [r.values[MISSING] for r in own if MISSING in r.values]
    met = f"{sum(v == 0 for v in judged)}/{len(judged)}" if judged else "–"
    digits = {column: d for column, (_, _, d) in SHOWN.items()} | {"seconds": 1, "passes, 1000": 1}
    means = [_mean([r.values[c] for r in own if c in r.values], d) for c, d in digits.items()]
    delta = differences(own, plain)
    pairs = sum(r.context in plain for r in own)
    return Row(
        cells=(switch, value, met, *means, *(difference_cell(delta[c]) for c in DELTAS)),
        pairs=str(pairs) if pairs else "–",
        targets={str(r.context[3]) for r in own},
    )


def _mean(values: Sequence[float], digits: int) -> str:
    if not values:
        return "–"
    return Number(f"{statistics.mean(values):.{digits}f}", statistics.mean(values), n=len(values))


def interval(values: Sequence[float]) -> tuple[float, float | None]:
    """Return the mean over pairs and the half-width of its 95 % t interval; None for one pair, or if all
    pairs are equal.
    """
    mean = statistics.mean(values)
    if len(values) < 2 or (spread := statistics.stdev(values)) == 0:
        return mean, None
    return mean, float(stats.t.ppf(0.975, len(values) - 1)) * spread / len(values) ** 0.5


def difference_cell(values: Sequence[float]) -> str:
    """Return `+1.5 ± 0.7 *`: mean, half-width, and the mark of an interval without 0; `–` without pairs."""
    if not values:
        return "–"
    mean, half = interval(values)
    text = (
        f"{mean:+.1f}".replace("-0.0", "+0.0").replace("+0.0", "0.0")
        if half is None
        else f"{mean:+.1f} ± {half:.1f}"
    )
    bounds = (None, None) if half is None else (mean - half, mean + half)
    mark = " *" if half is not None and abs(mean) > half else ""
    return Number(text + mark, mean, interval=bounds, n=len(values))


def conclusion(found: Sequence[Reading], preset: str) -> str:
    """Return in a sentence which flips bring a preset nearer to the joint target, and which of them
    measurably.
    """
    plain = {r.context: r for r in found if r.preset == preset and not r.flip}
    better: list[tuple[float, str]] = []
    certain: list[tuple[float, str]] = []
    for flip in {r.flip: None for r in found if r.preset == preset and r.flip}:
        delta = differences([r for r in found if r.preset == preset and r.flip == flip], plain)[MISSING]
        if delta and (mean := statistics.mean(delta)) < 0:
            name = " ".join(f"{k}={v}" for k, v in flip)
            half = interval(delta)[1]
            (certain if half is not None and half < -mean else better).append(
                (mean, f"{name} ({mean:+.1f}, {len(delta)} pairs)")
            )
    parts = [
        f"{words}: {'; '.join(text for _, text in sorted(listed))}"
        for words, listed in (
            ("measurably nearer to the joint target", certain),
            ("nearer, but within the noise", better),
        )
        if listed
    ]
    return f"{preset}: " + (
        ". ".join(parts) + "." if parts else "no flip brings it nearer to the joint target."
    )
