"""Acceptance: whether recorded scores meet thresholds declared in a scenario, judged from interval bounds
alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from razor_cli.errors import ConfigError, nearest
from razor_cli.metrics.catalog import METRICS, metric_info
from razor_cli.metrics.score import Score
from razor_cli.metrics.stats import Interval

# (state, quantization) -> scores; full precision is "none"
Scores = Mapping[tuple[str, str], Sequence[Score]]


class Outcome(StrEnum):
    """Of one bound, and of all together."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    UNDECIDED = "UNDECIDED"


class State(StrEnum):
    """State of the model that a bound looks at."""

    EDIT = "edit"
    CONTROL = "control"
    BASE = "base"


class Against(StrEnum):
    """What a drop is taken from: the unedited model in full precision, or under the same quantization."""

    BASE = "base"
    BASE_Q = "base_q"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One threshold in the metric's printed units; exactly one of `at_most`, `at_least` and `drop_at_most` is
    set.

    An empty `variant` stands for the metric's only one (others_worst names its concept there). An empty
    `quantizations` stands for every one that was run.
    """

    metric: str
    variant: str = ""
    at_most: float | None = None
    at_least: float | None = None
    # Points under `against`, over the same pictures where such a score exists.
    drop_at_most: float | None = None
    margin: float = 0.0  # >= 0; how far past the threshold the interval may reach, never the value itself
    state: State = State.EDIT
    against: Against = Against.BASE
    quantizations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if metric_info(self.metric) is None:
            near = nearest(self.metric, METRICS)
            raise ConfigError(
                f"acceptance: unknown metric {self.metric!r}",
                allowed=", ".join(METRICS),
                fix=f"did you mean {' or '.join(near)}?" if near else None,
            )
        thresholds = {n: getattr(self, n) for n in ("at_most", "at_least", "drop_at_most")}
        given = {n: value for n, value in thresholds.items() if value is not None}
        if len(given) != 1:
            raise ConfigError(
                f"acceptance: a bound on {self.metric} needs exactly one threshold",
                allowed="at_most, at_least or drop_at_most",
                found=", ".join(given) or "none",
            )
        if not all(math.isfinite(v) for v in given.values()) or not 0 <= self.margin < math.inf:
            raise ConfigError(
                f"acceptance: a bound on {self.metric} is out of range",
                allowed="a finite threshold and a margin >= 0",
                found=f"{given}, margin {self.margin}",
            )
        for name, kind in (("state", State), ("against", Against)):
            if getattr(self, name) not in list(kind):
                raise ConfigError(
                    f"acceptance: {name} of a bound on {self.metric}",
                    allowed=", ".join(kind),
                    found=getattr(self, name),
                )


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one bound says about one quantization."""

    name: str
    quantization: str
    outcome: Outcome
    line: str  # for people: value, interval, threshold, outcome
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """REJECTED if any bound failed, else UNDECIDED if any is undecided or there is none, else ACCEPTED."""

    outcome: Outcome
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line per bound and quantization."""
        return tuple(f.line for f in self.findings)


def summary(verdict: Verdict, bounds: Mapping[str, Bound]) -> list[str]:
    """Return one line per bound: its outcome (the worst of all widths), the demand, and the value at each
    width.
    """
    lines = []
    for name, bound in bounds.items():
        found = [f for f in verdict.findings if f.name == name]
        outcomes = {f.outcome for f in found}
        worst = next(o for o in (Outcome.REJECTED, Outcome.UNDECIDED, Outcome.ACCEPTED) if o in outcomes)
        kind = f"{bound.metric}{' ' + bound.variant if bound.variant else ''}"
        cells = [
            f"{f.quantization} {_cell(f)}" + ("" if len(outcomes) == 1 else f" {f.outcome}") for f in found
        ]
        lines.append(f"{worst}  {name}: {kind} {_demand(bound)}; {'; '.join(cells)}")
    return lines


def _cell(finding: Finding) -> str:
    if finding.value is None:
        return finding.line
    if finding.low is None or finding.high is None:
        return f"{finding.value:.1f} without an interval"
    return f"{finding.value:.1f} [{finding.low:.1f}, {finding.high:.1f}]"


def parse_bounds(acceptance: Mapping[str, Mapping[str, Any]]) -> dict[str, Bound]:
    """Return the bounds of a scenario's `acceptance:` mapping. Raises ConfigError that lists every problem at
    once.
    """
    known, bounds, problems = [f.name for f in fields(Bound)], {}, []
    for name, entry in acceptance.items():
        unknown = [k for k in entry if k not in known]
        if unknown or "metric" not in entry:
            hints = [
                f"unknown key {k!r}, did you mean "
                f"{(nearest(k, known, 1) or ['one of ' + ', '.join(known)])[0]}?"
                for k in unknown
            ]
            problems += [f"acceptance.{name}: {h}" for h in hints or ["metric is missing"]]
            continue
        try:
            bounds[name] = Bound(**entry)
        except (ConfigError, TypeError) as error:
            problems.append(f"acceptance.{name}: {str(error).removeprefix('acceptance: ')}")
    if problems:
        raise ConfigError("\n".join(problems))
    return bounds


def judge(scores: Scores, bounds: Mapping[str, Bound]) -> Verdict:
    """Hold recorded scores against bounds.

    A bound is met when the value keeps the threshold and the whole interval keeps threshold plus margin; it
    failed when the whole interval lies beyond the threshold; anything else, a missing score or interval
    included, is undecided.
    """
    findings = []
    for name, bound in bounds.items():
        present = [q for state, q in scores if state == bound.state]
        for quantization in list(bound.quantizations) or present or ["none"]:
            findings.append(_judge_one(name, bound, quantization, scores))
    outcomes = {f.outcome for f in findings}
    if Outcome.REJECTED in outcomes:
        overall = Outcome.REJECTED
    else:
        overall = Outcome.ACCEPTED if outcomes == {Outcome.ACCEPTED} else Outcome.UNDECIDED
    return Verdict(outcome=overall, findings=tuple(findings))


def _judge_one(name: str, bound: Bound, quantization: str, scores: Scores) -> Finding:
    interval, how = (
        _drop(bound, quantization, scores)
        if bound.drop_at_most is not None
        else _find(bound, quantization, scores)
    )
    head = (
        f"{name} [{bound.state}, {quantization}]: "
        f"{bound.metric}{' ' + bound.variant if bound.variant else ''}"
    )
    if interval is None:
        line = f"{head}: {how}: {Outcome.UNDECIDED}"
        return Finding(name=name, quantization=quantization, outcome=Outcome.UNDECIDED, line=line)
    outcome = _outcome(bound, interval)
    bounds = (
        "no interval"
        if interval.low is None or interval.high is None
        else f"[{interval.low:.4g}, {interval.high:.4g}]"
    )
    kind = "drop " if bound.drop_at_most is not None else ""
    line = (
        f"{head}: {kind}{interval.value:.4g} {bounds} (n={interval.n}{', ' + how if how else ''}), "
        f"{_demand(bound)}: {outcome}"
    )
    return Finding(
        name=name,
        quantization=quantization,
        outcome=outcome,
        line=line,
        value=interval.value,
        low=interval.low,
        high=interval.high,
    )


def _outcome(bound: Bound, interval: Interval) -> Outcome:
    """Return the outcome; a lower bound is an upper bound with every sign turned."""
    if interval.low is None or interval.high is None or math.isnan(interval.value):
        return Outcome.UNDECIDED
    if bound.at_least is not None:
        value, low, high, limit = -interval.value, -interval.high, -interval.low, -bound.at_least
    else:
        value, low, high = interval.value, interval.low, interval.high
        limit = next(v for v in (bound.at_most, bound.drop_at_most) if v is not None)
    if low > limit:
        return Outcome.REJECTED
    return Outcome.ACCEPTED if value <= limit and high <= limit + bound.margin else Outcome.UNDECIDED


def _demand(bound: Bound) -> str:
    names = {
        "at_most": "at most",
        "at_least": "at least",
        "drop_at_most": f"drop from {bound.against} at most",
    }
    text = next(
        f"{words} {getattr(bound, name):g}"
        for name, words in names.items()
        if getattr(bound, name) is not None
    )
    return text + (f", margin {bound.margin:g}" if bound.margin else "")


def _find(bound: Bound, quantization: str, scores: Scores) -> tuple[Interval | None, str]:
    """Return the score's interval and a remark, or None and why there is none."""
    return _lookup(scores, bound.state, quantization, bound.metric, bound.variant)


def _drop(bound: Bound, quantization: str, scores: Scores) -> tuple[Interval | None, str]:
    """Return the drop under the reference: paired over pictures if recorded, else the widest the two
    intervals allow.
    """
    after, why_after = _lookup(scores, bound.state, quantization, bound.metric, bound.variant)
    variant = bound.variant or (why_after if after is not None else "")
    paired, _ = _lookup(
        scores, bound.state, quantization, f"{bound.metric}_drop", f"{variant}/{bound.against}"
    )
    if paired is not None:
        return paired, "paired"
    at = quantization if bound.against == Against.BASE_Q else "none"
    before, why_before = _lookup(scores, State.BASE, at, bound.metric, variant)
    if before is None or after is None:
        return None, why_before if before is None else why_after
    value, n = before.value - after.value, min(before.n, after.n)
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return Interval(value, None, None, n), "conservative"
    return Interval(value, before.low - after.high, before.high - after.low, n), "conservative"


def _lookup(
    scores: Scores, state: str, quantization: str, metric: str, variant: str
) -> tuple[Interval | None, str]:
    if (state, quantization) not in scores:
        return None, f"{state} under {quantization} was not evaluated"
    found = [s for s in scores[state, quantization] if s.metric == metric and variant in ("", s.variant)]
    if not found:
        near = nearest(variant, [s.variant for s in scores[state, quantization] if s.metric == metric])
        return None, f"no score {metric} {variant}".rstrip() + (f" (did you mean {near[0]}?)" if near else "")
    if len(found) > 1:
        return (
            None,
            f"{metric} has {len(found)} variants ({', '.join(s.variant for s in found)}), the bound "
            "names none",
        )
    score = found[0]
    if score.value is None:
        return None, score.reason
    return Interval(score.value, score.ci_low, score.ci_high, score.n), score.variant if not variant else ""
