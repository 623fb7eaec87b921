"""Names, units and directions of every metric: the one place that tables, reports and acceptance read them
from.

Each family says what it measures in a `catalog.py` of its folder, which is data without torch: METRICS, by
name. A part of a name in angle brackets stands for any text, as in `zs_<suite>`.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from razor_cli.metrics.info import MetricInfo

FAMILIES = Path(__file__).parents[1] / "families"


def _assembled() -> dict[str, MetricInfo]:
    """Return the metrics of all families in the order of their folders; the first that has one says it."""
    found: dict[str, MetricInfo] = {}
    for file in sorted(FAMILIES.glob("*/catalog.py")):
        own: dict[str, MetricInfo] = import_module(f"razor_cli.families.{file.parent.name}.catalog").METRICS
        found = own | found
    return found


METRICS = _assembled()


def metric_info(metric: str) -> MetricInfo | None:
    """Return what is known of a metric's name, also of one made after a pattern; None for an unknown name."""
    if "<" in metric:
        return None
    if metric in METRICS:
        return METRICS[metric]
    fitting = [name for name in METRICS if "<" in name and re.fullmatch(_pattern(name), metric)]
    return METRICS[max(fitting, key=len)] if fitting else None


def _pattern(name: str) -> str:
    return re.sub(r"<\w+>", ".+", name)
