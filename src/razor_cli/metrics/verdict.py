"""Acceptance: whether recorded scores meet thresholds declared in a scenario, judged from interval bounds
alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from razor_cli.metrics.bounds import Against, Bound, State, demand
from razor_cli.metrics.catalog import metric_info
from razor_cli.metrics.info import NOT_RECOGNISED, Role
from razor_cli.metrics.judges import by_judge, reading_of, unedited, unknown_to_judge
from razor_cli.metrics.lookup import FULL, Scores, lookup, shown
from razor_cli.metrics.stats import Interval

IN_FULL = "full precision"  # what a person reads for FULL, `none`
NO_WIDTH = "an interval without width proves nothing"


class Outcome(StrEnum):
    """Of one bound, and of all together."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    UNDECIDED = "UNDECIDED"


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
    why: str = ""  # it is undecided although the value and its interval lie on one side
    judge: str = ""  # where scores name who judged
    base: str = ""  # by the same judge: what the unedited model is


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """REJECTED if any bound failed, else UNDECIDED if any is undecided or there is none, else ACCEPTED."""

    outcome: Outcome
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """One line per bound and quantization."""
        return tuple(f.line for f in self.findings)

    @property
    def judge(self) -> str:
        """Who judged, where scores name them; several stand beside each other."""
        return ", ".join(dict.fromkeys(f.judge for f in self.findings if f.judge))


def summary(verdict: Verdict, bounds: Mapping[str, Bound]) -> list[str]:
    """Return one line per bound: its outcome (the worst of all widths), the demand, and the value at each
    width.
    """
    lines = []
    for name, bound in bounds.items():
        found = [f for f in verdict.findings if f.name == name]
        outcomes = {f.outcome for f in found}
        worst = next(o for o in (Outcome.REJECTED, Outcome.UNDECIDED, Outcome.ACCEPTED) if o in outcomes)
        judge = found[0].judge
        variant = reading_of(bound.variant) if judge else bound.variant
        kind = " ".join(filter(None, (bound.metric, judge and f"by {judge}", variant)))
        cells = [_cell(f) + ("" if len(outcomes) == 1 else f" {f.outcome}") for f in found]
        more = [found[0].base, *(f.why for f in found if f.value is not None)]
        said = "; ".join([*cells, *dict.fromkeys(m for m in more if m)])
        lines.append(f"{worst}  {name}: {kind} {demand(bound)}; {said}")
    return lines


def _cell(finding: Finding) -> str:
    width = IN_FULL if finding.quantization == FULL else finding.quantization
    if finding.value is None:
        return f"{width}: {finding.why}"
    return f"{width} {shown(Interval(finding.value, finding.low, finding.high, 0))}"


def judge(scores: Scores, bounds: Mapping[str, Bound]) -> Verdict:
    """Hold recorded scores against bounds.

    A bound is met when the value keeps the threshold and the whole interval keeps threshold plus margin; it
    failed when the whole interval lies beyond the threshold; anything else, a missing score or interval
    included, is undecided. So is an interval without width, unless the state is the base, a bound on
    forgetting where the unedited model had nothing to forget, and one whose judge does not know the target. A
    bound holds for the scores of a judge that names itself in their variants, too, and says so.
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
    bound, judge = by_judge(bound, quantization, scores)
    interval, how = (
        _drop(bound, quantization, scores)
        if bound.drop_at_most is not None
        else lookup(scores, bound.state, quantization, bound.metric, bound.variant)
    )
    head = (
        f"{name} [{bound.state}, {quantization}]: "
        f"{bound.metric}{' ' + bound.variant if bound.variant else ''}"
    )
    if interval is None:
        line = f"{head}: {how}: {Outcome.UNDECIDED}"
        undecided = Outcome.UNDECIDED
        return Finding(
            name=name, quantization=quantization, outcome=undecided, line=line, why=how, judge=judge
        )
    outcome, why = _outcome(bound, interval), unknown_to_judge(bound, judge, scores)
    if not why and bound.state != State.BASE and interval.low is not None and interval.low == interval.high:
        why = NO_WIDTH
    if not why and outcome is Outcome.ACCEPTED:
        why = _nothing_to_forget(bound, quantization, scores)
    if why:
        outcome = Outcome.UNDECIDED
    bounds = (
        "no interval"
        if interval.low is None or interval.high is None
        else f"[{interval.low:.4g}, {interval.high:.4g}]"
    )
    kind = "drop " if bound.drop_at_most is not None else ""
    line = (
        f"{head}: {kind}{interval.value:.4g} {bounds} (n={interval.n}{', ' + how if how else ''}), "
        f"{demand(bound)}: {outcome}{': ' + why if why else ''}"
    )
    return Finding(
        name=name,
        quantization=quantization,
        outcome=outcome,
        line=line,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        why=why,
        judge=judge,
        base=unedited(bound, scores) if judge else "",
    )


def _nothing_to_forget(bound: Bound, quantization: str, scores: Scores) -> str:
    """Return why a kept bound shows no forgetting; empty where it does, and where none is asked for.

    A model that never knew the concept keeps every bound on it, before and after any edit. So the unedited
    model, in full precision, has to lie wholly beyond the bound, or the state beyond what it was.
    """
    if bound.state == State.BASE or not asks_to_forget(bound):
        return ""
    info = metric_info(bound.metric)
    if info is not None and info.shown_by:
        return _not_fallen(replace(bound, metric=info.shown_by), quantization, scores)
    before, why = lookup(scores, State.BASE, FULL, bound.metric, bound.variant)
    if before is None:
        return why
    fallen, _ = _drop(replace(bound, against=Against.BASE), quantization, scores)
    if bound.at_most is not None:
        known = before.low is not None and before.low > bound.at_most
        went = fallen is not None and fallen.low is not None and fallen.low > 0
    else:
        known = before.high is not None and bound.at_least is not None and before.high < bound.at_least
        went = fallen is not None and fallen.high is not None and fallen.high < 0
    return "" if known or went else f"{NOT_RECOGNISED} (base {shown(before)})"


def _not_fallen(bound: Bound, quantization: str, scores: Scores) -> str:
    """Return why nothing shows that a metric fell from the unedited model; empty where its drop does."""
    fallen, why = _drop(replace(bound, against=Against.BASE), quantization, scores)
    if fallen is None or fallen.low is None:
        return why or NOT_RECOGNISED
    return "" if fallen.low > 0 else f"{NOT_RECOGNISED} ({bound.metric} fell by {shown(fallen)})"


def asks_to_forget(bound: Bound) -> bool:
    """Tell whether a bound is kept by forgetting: one on a metric of forgetting, towards its better side."""
    info = metric_info(bound.metric)
    if info is None or info.role is not Role.FORGETTING or info.from_base:
        return False
    return (bound.at_least if info.direction == "up" else bound.at_most) is not None


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


def _drop(bound: Bound, quantization: str, scores: Scores) -> tuple[Interval | None, str]:
    """Return the drop under the reference: paired over pictures if recorded, else the widest the two
    intervals allow.
    """
    after, why_after = lookup(scores, bound.state, quantization, bound.metric, bound.variant)
    variant = bound.variant or (why_after if after is not None else "")
    paired, _ = lookup(
        scores, bound.state, quantization, f"{bound.metric}_drop", f"{variant}/{bound.against}"
    )
    if paired is not None:
        return paired, "paired"
    at = quantization if bound.against == Against.BASE_Q else "none"
    before, why_before = lookup(scores, State.BASE, at, bound.metric, variant)
    if before is None or after is None:
        return None, why_before if before is None else why_after
    value, n = before.value - after.value, min(before.n, after.n)
    if before.low is None or before.high is None or after.low is None or after.high is None:
        return Interval(value, None, None, n), "conservative"
    return Interval(value, before.low - after.high, before.high - after.low, n), "conservative"
