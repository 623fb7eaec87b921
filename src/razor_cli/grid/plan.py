"""`dry_run=true`: the jobs of a grid as a table, with what is recorded, what is missing, time and memory;
starts nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from razor_cli.bench import memory_note
from razor_cli.engine.estimate import COUNTED
from razor_cli.grid.blocks import Asked
from razor_cli.grid.cost import RECORDED, Estimate, estimate
from razor_cli.grid.points import Job, Refused, leaving_out, left_out, named
from razor_cli.grid.recorded import Recorded
from razor_cli.printing import counted, note
from razor_cli.runs.known import known_runs
from razor_cli.runs.records import RunRecord

FEW = 3  # points that cannot run for one reason and still have a line each
MISSING = 2  # exit code


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the plan."""

    number: int
    label: str
    state: str  # recorded | to run | cannot: why
    count: int = 1  # jobs that the line stands for
    cost: Estimate | None = None


def plan(asked: Asked, jobs: Sequence[Job], refused: Sequence[Refused], console: Console) -> int:
    """Print the plan of a grid; return 0, or 2 if something is missing."""
    records: list[RunRecord] = []
    for folder in _folders(jobs):
        with known_runs(folder, note) as known:
            records += [run.record for run in known.runs]
    absent = {m: m.missing() for m in {job.experiment.model for job in jobs}}
    done = Recorded(records)
    rows = [_row(job, records, done, absent[job.experiment.model]) for job in jobs]
    rows += _refused(refused)
    rows.sort(key=lambda row: row.number)
    console.print(_table(rows))
    for line in [*totals(rows, jobs[0].experiment.jobs if jobs else 1), *left_out(jobs)]:
        console.print(Text(line))
    waiting = {row.number for row in rows if row.cost}
    notes = (memory_note(job.experiment) for job in jobs if job.number in waiting)
    for line in dict.fromkeys(filter(None, notes)):
        console.print(Text(line))
    for text in done.untold:
        console.print(Text(f"whether all of it is recorded cannot be told: {text}", style="yellow"))
    problems = [*(r.error.message() for r in refused), *filter(None, absent.values())]
    for text in dict.fromkeys(problems):
        console.print(Text(f"missing: {text}", style="yellow"))
    if refused and (rest := leaving_out(jobs, refused)):
        console.print(Text(f"to plan and run the others alone, add: {rest}"))
    console.print("dry_run: nothing was started")
    return MISSING if problems else 0


def _folders(jobs: Sequence[Job]) -> list[Path]:
    return list(dict.fromkeys(job.experiment.output_dir for job in jobs))


def _row(job: Job, records: Sequence[RunRecord], done: Recorded, absent: str) -> Row:
    if not absent and (state := done.state(job.experiment)):
        return Row(number=job.number, label=job.label, state=state)
    state = "cannot: " + absent.partition(":")[0] if absent else "to run"
    return Row(number=job.number, label=job.label, state=state, cost=estimate(job, records))


def _refused(refused: Sequence[Refused]) -> list[Row]:
    """Return a row for each point that cannot run; where many cannot for one reason, a row for all of
    them, with what they have in common.
    """
    alike: dict[str, list[Refused]] = {}
    for one in refused:
        alike.setdefault(one.error.message().splitlines()[0], []).append(one)
    return [
        Row(number=of[0].number, label=label, state=f"cannot: {why}", count=len(of))
        for why, same in alike.items()
        for of, label in ([(same, _common(same))] if len(same) > FEW else [([r], r.label) for r in same])
    ]


def _common(refused: Sequence[Refused]) -> str:
    """Return how many points there are, and what is the same in all of them."""
    first = refused[0].point
    shared = [k for k in first if all(repr(r.point.get(k)) == repr(first[k]) for r in refused)]
    return " · ".join([f"{len(refused)} jobs", *named({key: first[key] for key in shared})])


def _table(rows: Sequence[Row]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("job", justify="right")
    table.add_column("what", overflow="fold")
    table.add_column("state", overflow="fold")
    for name in ("time", "memory"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cost = row.cost
        mark = "~" if cost and cost.source == COUNTED else ""
        cells = (mark + duration(cost.seconds), mark + memory(cost.memory_mb)) if cost else ("", "")
        table.add_row(str(row.number), Text(row.label), Text(row.state), *cells)
    return table


def totals(rows: Sequence[Row], processes: int = 1) -> list[str]:
    """Return the sums below the table, and where its times come from."""
    states = [row.state.partition(":")[0] for row in rows for _ in range(row.count)]
    counts = ", ".join(
        f"{states.count(s)} {s}{' run' if s == 'cannot' else ''}"
        for s in ("recorded", "to run", "cannot")
        if s in states
    )
    waiting = [row.cost for row in rows if row.cost]
    lines = [f"{counted(len(states), 'job')}: {counts}"]
    if waiting:
        spread = f" in {processes} processes" if processes > 1 else ""
        together = sum(cost.seconds for cost in waiting) / processes
        most = processes * max(cost.memory_mb for cost in waiting)
        lines[0] += f"; about {duration(together)}{spread}, at most {memory(most)} of memory"
        sources = [
            f"{sum(c.source == s for c in waiting)} from {what}"
            for s, what in SOURCES.items()
            if any(c.source == s for c in waiting)
        ]
        lines.append("estimates: " + ", ".join(sources))
    return lines


SOURCES = {
    RECORDED: "recorded runs of the same method and model",
    COUNTED: "a count of passes, timed by matrix products on this machine, were it idle (~, within a factor "
    "of three)",
}


def duration(seconds: float) -> str:
    """Return seconds in a unit that suits them."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def memory(mb: float) -> str:
    """Return megabytes (2**20 bytes) in a unit that suits them."""
    return f"{mb:.0f} MB" if mb < 2048 else f"{mb / 1024:.1f} GB"
