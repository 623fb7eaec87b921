"""A score among those of a run, by state, quantization, metric and variant; or why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from razor_cli.errors import nearest
from razor_cli.metrics.score import Score

if TYPE_CHECKING:
    from razor_cli.metrics.stats import Interval

# (state, quantization) -> scores; full precision is "none"
Scores = Mapping[tuple[str, str], Sequence[Score]]
FULL = "none"


def lookup(
    scores: Scores, state: str, quantization: str, metric: str, variant: str
) -> tuple[Interval | None, str]:
    """Return a score's interval and its variant, where none was asked for; or None and why there is none."""
    from razor_cli.metrics.stats import Interval  # it brings numpy, which a report of old runs does not need

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


def shown(interval: Interval) -> str:
    """Return a value with its interval, as verdicts print it."""
    if interval.low is None or interval.high is None:
        return f"{interval.value:.1f} without an interval"
    return f"{interval.value:.1f} [{interval.low:.1f}, {interval.high:.1f}]"
