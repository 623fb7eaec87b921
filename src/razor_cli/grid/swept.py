"""What a sweep says: a line for each point as it ends, and a table of all at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from razor_cli.config.overrides import shell_command
from razor_cli.grid.job import Ended
from razor_cli.grid.plan import duration
from razor_cli.report.cells import table
from razor_cli.report.terminal import STYLES


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one point of a sweep ended: `point` is what it was of the values swept, `error` the first line."""

    overrides: tuple[str, ...]
    exit_code: int
    error: str = ""
    started: bool = True  # false: another had failed before it, and fail_fast was asked for
    point: Mapping[str, str] | None = None
    ended: Ended | None = None  # None: it was refused before it was a run


def point_of(overrides: Sequence[str], keys: Sequence[str]) -> dict[str, str]:
    """Return the values of one point of a sweep, as typed, of the keys that have several; all of them where
    none has.
    """
    pairs = (word.lstrip("+").partition("=") for word in overrides)
    return {key: value for key, _, value in pairs if key in keys or not keys}


def label(point: Mapping[str, str]) -> str:
    """Return what a point is, in few words."""
    return " · ".join(f"{key.removeprefix('method.')}={value}" for key, value in point.items())


def line(outcome: Outcome, number: int, total: int | None, left: str) -> Text:
    """Return the line of a point that has ended; `total` is None where the sweeper decides."""
    count = str(number) if total is None else f"{number:>{len(str(total))}}/{total}"
    text = Text(f"[{count}] {label(outcome.point or {})} ")
    ended = outcome.ended
    if outcome.error or ended is None:
        return text + Text("FAILED", style="bold red") + Text(left, style="dim")
    how = f"{ended.seconds:.1f} s" if ended.computed else "already recorded"
    return text + Text(f"· {how} · ", style="dim") + Text(ended.said) + Text(left, style="dim")


def left(outcomes: Sequence[Outcome], total: int | None) -> str:
    """Return how long the rest will take, by the mean of the points that were computed; nothing before the
    first.
    """
    computed = [o.ended.seconds for o in outcomes if o.ended is not None and o.ended.computed]
    if not computed or total is None or len(outcomes) >= total:
        return ""
    return f" · about {duration((total - len(outcomes)) * sum(computed) / len(computed))} left"


def overview(outcomes: Sequence[Outcome]) -> Table | None:
    """Return a row for each point with its values, numbers, verdict and run; None where no run came of it."""
    ended = [(o, o.ended) for o in outcomes if o.ended is not None and not o.error]
    if not ended:
        return None
    keys = list(dict.fromkeys(key for o, _ in ended for key in o.point or {}))
    headings = list(dict.fromkeys(heading for _, e in ended for heading in e.numbers))
    shown = table(None)
    for key in keys:
        shown.add_column(Text(key), overflow="fold")
    for heading in headings:
        shown.add_column(Text(heading), justify="right", no_wrap=True)
    for name in ("verdict", "run"):
        shown.add_column(name, no_wrap=True)
    for outcome, e in ended:
        values = [Text((outcome.point or {}).get(key, "")) for key in keys]
        numbers = [f"{e.numbers[h]:.1f}" if h in e.numbers else "" for h in headings]
        verdict = Text(e.decision.value, style=STYLES[e.decision]) if e.decision else Text("")
        shown.add_row(*values, *numbers, verdict, e.run_id)
    return shown


def summary(outcomes: Sequence[Outcome], *, stopped: bool = False) -> str:
    """Return the end of a sweep: how many jobs there were, and for each failed one its error and how to run
    it again.
    """
    failed, waiting = [o for o in outcomes if o.error], [o for o in outcomes if not o.started]
    done = len(outcomes) - len(failed) - len(waiting)
    lines = [f"\nsweep: {len(outcomes)} jobs, {done} finished, {len(failed)} failed"]
    if stopped:
        rest = f": {len(waiting)} not started" if waiting else ""
        lines.append(f"stopped at the first failure (fail_fast=true){rest}")
    for number, outcome in enumerate(outcomes, 1):
        if outcome.error:
            lines += [f"  job {number}: {outcome.error}", f"    rerun: {shell_command(outcome.overrides)}"]
        elif outcome.exit_code:
            lines += [
                f"  job {number}: ended with exit code {outcome.exit_code}: "
                f"{shell_command(outcome.overrides)}"
            ]
    return "\n".join(lines)
