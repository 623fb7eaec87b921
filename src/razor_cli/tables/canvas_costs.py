"""Time, memory and storage of edits of models that draw, in the units of the published tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from razor_cli.config.settings import FRESH
from razor_cli.runs.folder import Run
from razor_cli.tables.layout import units
from razor_cli.tables.selection import Measure, Sample, sample
from razor_cli.tables.tradeoff import Costs

GB = 2.0**-30
MEMORY_NOTE = (
    "Memory: on a GPU the most that was allocated on it during the edit, on a CPU the peak of the whole "
    "process at the edit's end, libraries and loaded model included; the head of the column says which."
)
TIME = Measure(key="time_s", title="time", unit="↓ s", metric="cost.seconds", direction="down", digits=1)
STORAGE = Measure(
    key="storage_gb", title="storage", unit="↓ GB", metric="cost.patch_bytes", direction="down", digits=5
)


def is_fresh(run: Run) -> bool:
    """Tell whether a run measured its cost in a process of its own."""
    return run.record.settings.get(FRESH) is True


def measures_of(runs: Sequence[Run]) -> tuple[Measure, ...]:
    """Return the three columns as they were measured, memory of whatever computed."""
    on_gpu = any(r.record.cost.device_mb for r in runs)
    where, name = ("of the GPU", "device_mb") if on_gpu else ("of the process", "peak_mb")
    memory = Measure(
        key="mem_gb",
        title=f"memory {where}" if runs else "memory",
        unit="↓ GB",
        metric=f"cost.{name}",
        direction="down",
        scale=2.0**-10,
    )
    return TIME, memory, STORAGE


def samples_of(runs: Sequence[Run], measures: Sequence[Measure]) -> dict[str, Sample]:
    """Return the costs of runs by measure; an edit that stores nothing takes no storage."""
    stored = {(r.record.target, r.record.seed): GB * (r.record.cost.patch_bytes or 0) for r in runs}
    return {m.key: stored if m is STORAGE else sample(runs, m) for m in measures}


def costs_of(runs: Sequence[Run]) -> Costs:
    """Return the mean costs of runs."""
    found = samples_of(runs, measures_of(runs))
    time, memory, storage = (statistics.fmean(units(own)) for own in found.values())
    return Costs(seconds=time, memory=memory, storage=storage)
