"""Scores whose variant begins with who judged: a judge that nobody measured names itself in each of them."""

from __future__ import annotations

from dataclasses import replace

from razor_cli.metrics.bounds import Bound, State
from razor_cli.metrics.catalog import metric_info
from razor_cli.metrics.lookup import FULL, Scores, lookup, shown

ZERO_SHOT = "zero_shot:"  # and the judge's name, and a slash


def named_judge(variant: str) -> str:
    """Return who judged a score, where its variant says so; else nothing."""
    judge, slash, _ = variant.partition("/")
    return judge if slash and judge.startswith(ZERO_SHOT) else ""


def reading_of(variant: str) -> str:
    """Return the variant without who judged."""
    judge = named_judge(variant)
    return variant.removeprefix(f"{judge}/") if judge else variant


def by_judge(bound: Bound, quantization: str, scores: Scores) -> tuple[Bound, str]:
    """Return a bound on the scores of the judge that names itself in their variants, and who that is; the
    bound as it is where none does.
    """
    known = [s.variant for s in scores.get((bound.state, quantization), ()) if s.metric == bound.metric]
    fitting = [v for v in known if bound.variant in ("", v, reading_of(v))]
    if len(fitting) != 1 or not (judge := named_judge(fitting[0])):
        return bound, ""
    return replace(bound, variant=fitting[0]), judge


def unedited(bound: Bound, scores: Scores) -> str:
    """Return what the unedited model is by the same judge."""
    before, why = lookup(scores, State.BASE, FULL, bound.metric, bound.variant)
    return f"the unedited model {why if before is None else shown(before)}"


def unknown_to_judge(bound: Bound, judge: str, scores: Scores) -> str:
    """Return why nothing can be told of the target by this judge: it does not find it in what the unedited
    model draws of it; empty where it does, and where the bound does not ask.
    """
    if bound.base_at_most is None or bound.state == State.BASE:
        return ""
    info = metric_info(bound.metric)
    metric = info.known_by if info is not None and info.known_by else bound.metric
    before, _ = lookup(scores, State.BASE, FULL, metric, bound.variant)
    if before is None or before.value <= bound.base_at_most:
        return ""
    return (
        f"{judge or 'the judge'} does not know the target well enough: {metric} of the unedited model is "
        f"{before.value:.1f}, more than {bound.base_at_most:g} (base_at_most)"
    )
