"""Scores from intervals, with unit and direction from the catalogue."""

from __future__ import annotations

from razor_cli.metrics.catalog import metric_info
from razor_cli.metrics.score import Score
from razor_cli.metrics.stats import Interval


def scored(metric: str, variant: str, interval: Interval, unit: str | None = None) -> Score:
    """Return a measured score; direction, and the unit unless given, are those of the catalog."""
    info = metric_info(metric)
    assert info is not None, metric
    return Score(
        metric=metric,
        variant=variant,
        value=interval.value,
        n=interval.n,
        ci_low=interval.low,
        ci_high=interval.high,
        unit=unit or info.unit,
        direction=info.direction,
    )


def missing(metric: str, variant: str, reason: str, unit: str | None = None) -> Score:
    """Return a score that could not be had, with the reason."""
    info = metric_info(metric)
    assert info is not None, metric
    return Score(
        metric=metric,
        variant=variant,
        value=None,
        n=0,
        ci_low=None,
        ci_high=None,
        unit=unit or info.unit,
        direction=info.direction,
        reason=f"not computed: {reason}",
    )
