"""Several values of one setting: `a,b`, `choice(a,b)`, `range(0,3)`, `glob(*)` of a group's options."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from razor_cli.errors import Problem

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

MOST = 10_000  # jobs: more are a slip of the pen, and would fill the memory before the first


def named(override: Override, options: Sequence[str]) -> str | None:
    """Return `glob(...)` over a group as the options it chooses, in the words of a plain sweep; None for all
    else.
    """
    from hydra.core.override_parser.types import Glob

    value = override.value()
    if not isinstance(value, Glob) or not options:
        return None
    plain = [o for o in options if "/" not in o or any("/" in pattern for pattern in value.include)]
    return ",".join(value.filter(plain))


def problems(argument: str, override: Override, *, continuous: bool) -> list[Problem]:
    """Return what keeps a sweep from being a list of values. `continuous`: a sweeper that takes intervals was
    chosen.
    """
    from hydra.core.override_parser.types import Glob

    key = override.key_or_group
    if isinstance(override.value(), Glob):
        what = f"{argument}: glob(...) chooses among the options of a group, and finds none here"
        return [Problem(what=what, fix=f"name the values: {key}=A,B")]
    if not override.is_discrete_sweep():
        if continuous:
            return []
        what = f"{argument}: an interval has no list of values to run"
        return [Problem(what=what, allowed="a,b or range(START,STOP,STEP)", fix=f"{key}=A,B")]
    if (count := how_many(override)) == 0:
        return [Problem(what=f"{argument}: it has no values, so there is nothing to run", fix=f"{key}=A,B")]
    if count > MOST:
        return [
            Problem(what=f"{argument}: too many values", allowed=f"at most {MOST:,}", found=_shown(count))
        ]
    return []


def too_many(counts: Sequence[float]) -> list[Problem]:
    """Return the problem of a sweep whose combinations are more than anybody runs."""
    jobs = math.prod(counts)
    return [Problem(what="the sweep has too many jobs", allowed=f"at most {MOST:,}", found=_shown(jobs))][
        : jobs > MOST
    ]


def how_many(override: Override) -> float:
    """Return the number of values of a sweep that can be listed, without listing them."""
    from hydra.core.override_parser.types import ChoiceSweep, RangeSweep

    value = override.value()
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep) or value.start is None or value.stop is None:
        return 0
    if not all(math.isfinite(v) for v in (value.start, value.stop, value.step)):
        return math.inf
    if value.step == 0:
        return math.inf
    return max(0, math.ceil((value.stop - value.start) / value.step))


def _shown(count: float) -> str:
    return f"{count:,}" if math.isfinite(count) else "no end"
