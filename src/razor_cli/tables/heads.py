"""Heads of the columns of measures."""

from __future__ import annotations

from razor_cli.tables.cells import DIFFERENCE, MEASURED, PUBLISHED, Heading, Meaning
from razor_cli.tables.selection import Measure

ARROWS = "↓↑→0 "  # before a unit: which way is better


def head_of(measure: Measure, source: str = MEASURED, *, beside: bool = False) -> Heading:
    """Return the head of a measure's column; `beside` published numbers it says that these are measured."""
    before = {PUBLISHED: "published ", DIFFERENCE: "Δ ", MEASURED: "measured " if beside else ""}[source]
    text = measure.title if source == DIFFERENCE else measure.heading
    name = measure.metric.partition(".")[2] or measure.metric
    own = {
        "variant": measure.variant,
        "unit": measure.unit.lstrip(ARROWS),
        "width": measure.quantization or "",
    }
    return Heading(before + text, Meaning(metric=name, source=source, **own))
