"""Thresholds that a scenario declares: which metric must reach what, in which state and at which widths."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any

from razor_cli.errors import ConfigError, nearest
from razor_cli.metrics.catalog import METRICS, metric_info


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
    # Beyond this value of the unedited model its judge knows the target too little: the bound says nothing.
    base_at_most: float | None = None
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
        limits = [*given.values(), *([] if self.base_at_most is None else [self.base_at_most])]
        if not all(map(math.isfinite, limits)) or not 0 <= self.margin < math.inf:
            raise ConfigError(
                f"acceptance: a bound on {self.metric} is out of range",
                allowed="finite thresholds and a margin >= 0",
                found=f"{given}, base_at_most {self.base_at_most}, margin {self.margin}",
            )
        for name, kind in (("state", State), ("against", Against)):
            if getattr(self, name) not in list(kind):
                raise ConfigError(
                    f"acceptance: {name} of a bound on {self.metric}",
                    allowed=", ".join(kind),
                    found=getattr(self, name),
                )


def demand(bound: Bound) -> str:
    """Return what a bound asks for, in words."""
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
