"""What a recorded run reached, and by how many points it misses the bounds of its scenario."""

from __future__ import annotations

from collections.abc import Mapping

from razor_cli.errors import ConfigError
from razor_cli.metrics.bounds import Bound, parse_bounds
from razor_cli.metrics.lookup import Scores
from razor_cli.metrics.score import Score
from razor_cli.metrics.verdict import Finding, judge
from razor_cli.runs.folder import Run

SHOWN = {  # column: (metric, variant, digits)
    "M1 mean ↓ %": ("m1", "dual/mean_of_classes", 1),
    "M1 generic ↓ %": ("m1", "dual/generic", 1),
    "M2 ↓ ×100": ("m2", "prompt", 1),
    "M4 drop ↓": ("m4_drop", "dual/generic/base", 1),
    "M5 ↑ %": ("m5", "retrieval/base", 1),
    "others' drop ↓": ("others_acc_drop", "macro/base", 1),
}
MISSING = "missing"  # points to the joint target


def values_of(run: Run) -> dict[str, float]:
    """Return what the table shows of a run, by column, and MISSING: points by which it misses its bounds."""
    scores: dict[tuple[str, str], list[Score]] = {("base", "none"): [], ("edit", "none"): []}
    for row in run.scores:
        if (row.state, row.quantization) in scores:
            scores[row.state, row.quantization].append(row.score)
    found = {(s.metric, s.variant): s.value for s in scores["edit", "none"] if s.value is not None}
    values = {column: found[m, v] for column, (m, v, _) in SHOWN.items() if (m, v) in found}
    cost = run.record.cost
    values |= {"seconds": cost.seconds, "passes, 1000": (cost.forwards + cost.backwards) / 1000}
    missing = _missing(run, scores)
    return values if missing is None else values | {MISSING: missing}


def _missing(run: Run, scores: Scores) -> float | None:
    """Return the points by which values miss the scenario's bounds, added up; None if a bound has
    no value.
    """
    scenario = run.record.settings.get("scenario")
    acceptance = scenario.get("acceptance") if isinstance(scenario, Mapping) else None
    try:
        bounds = parse_bounds(acceptance) if isinstance(acceptance, Mapping) else {}
    except ConfigError:
        return None  # of a version with other bounds
    short = []
    for finding in judge(scores, bounds).findings:
        if (points := _short(finding, bounds[finding.name])) is None:
            return None
        short.append(points)
    return sum(short) if short else None


def _short(finding: Finding, bound: Bound) -> float | None:
    if finding.value is None:
        return None
    if bound.at_least is not None:
        return max(0.0, bound.at_least - finding.value)
    limit = next(v for v in (bound.at_most, bound.drop_at_most) if v is not None)
    return max(0.0, finding.value - limit)
