"""Verdicts on recorded scores by the bounds of today, and the exit code that follows from one.

A threshold changes no number, so it is no part of a run's name: whoever asks judges anew, and what run.json
holds is how the run was judged when it was recorded.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from razor_cli.config.settings import ExitOn
from razor_cli.metrics.bounds import parse_bounds
from razor_cli.metrics.score import Score
from razor_cli.runs.folder import Run
from razor_cli.runs.records import Decision, Verdict

if TYPE_CHECKING:
    from razor_cli.metrics.lookup import Scores

GATE = 3  # exit code of a verdict that exit_on does not let pass
REFUSED: Mapping[
    ExitOn, Collection[Decision | None]
] = {  # what does not pass; None stands for a run without a verdict
    ExitOn.REJECTED: (Decision.REJECTED,),
    ExitOn.UNDECIDED: (Decision.REJECTED, Decision.UNDECIDED, None),
}

Acceptance = Mapping[str, Mapping[str, Any]]


def verdict_of(scores: Scores, acceptance: Acceptance) -> Verdict | None:
    """Return what bounds say of scores; None without a bound. Raises ConfigError for wrong bounds."""
    from razor_cli.metrics.verdict import judge, summary  # needs numpy, which asking and finding must not

    bounds = parse_bounds(acceptance)
    if not bounds:
        return None
    found = judge(scores, bounds)
    decision = Decision(found.outcome.value)
    return Verdict(decision=decision, judge=found.judge, reasons=summary(found, bounds))


def by_bounds(run: Run, acceptance: Acceptance) -> Verdict | None:
    """Return what bounds say of a recorded run; attacks on its states take no part."""
    scores: dict[tuple[str, str], list[Score]] = {}
    for row in run.scores:
        scores.setdefault((row.state, row.quantization), []).append(row.score)
    return verdict_of(scores, acceptance)


def exit_code(exit_on: ExitOn | None, decision: Decision | None) -> int:
    """Return 3 for a decision that `exit_on` does not let pass, else 0."""
    return GATE if exit_on is not None and decision in REFUSED[exit_on] else 0
