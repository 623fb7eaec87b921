"""One job of a grid: performed quietly with the model that is kept, and told in a line."""

from __future__ import annotations

import io
import time
import traceback
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from razor_cli.errors import RazorError, headline
from razor_cli.grid.kept import Kept, key_of
from razor_cli.report.layout import layout_of
from razor_cli.runs.judged import Acceptance, by_bounds
from razor_cli.runs.records import Decision
from razor_cli.screen import Screen

if TYPE_CHECKING:
    from razor_cli.config.settings import Experiment
    from razor_cli.contract.family import Family
    from razor_cli.contract.spec import Spec
    from razor_cli.runs.folder import Run


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How one job ended. `error` is the whole message, empty for a job that ended well."""

    number: int
    seconds: float
    computed: bool = False  # false: it was recorded before, or failed
    said: str = ""  # its numbers and run id, one line
    decision: Decision | None = None  # of today's bounds; None: the run has no verdict
    numbers: Mapping[str, float] = field(
        default_factory=dict
    )  # of the edit, by what a report heads them with
    run_id: str = ""
    exit_code: int = 0  # of a failure: 2 where a person can mend it, else 1
    error: str = ""
    trace: str = ""


def perform_job(number: int, experiment: Experiment, kept: Kept, say: Callable[[str], None]) -> Ended:
    """Run one job quietly with the model that is kept, if it is the job's; a failure is returned, not
    raised. `say` is told of a wait for another process.
    """
    from razor_cli.run import perform

    def opener(spec: Spec) -> Family:
        model: Family = kept.get(key_of(spec), spec.open)
        return model

    clock = time.perf_counter()
    _forget_peak()
    quiet = io.StringIO()
    try:
        with redirect_stdout(quiet):
            run, computed = perform(experiment, Screen(file=quiet), opener=opener, say=say)
            said, decision = told(run, experiment.scenario.acceptance)
    except Exception as error:  # every kind of failure is reported, and the next job starts
        kept.drop()
        text = f"{type(error).__name__}: {error}" if isinstance(error, RazorError) else headline(error)
        return Ended(
            number=number,
            seconds=time.perf_counter() - clock,
            exit_code=error.exit_code if isinstance(error, RazorError) else 1,
            error=text,
            trace=traceback.format_exc(),
        )
    return Ended(
        number=number,
        seconds=time.perf_counter() - clock,
        computed=computed,
        said=said,
        decision=decision,
        numbers=numbers_of(run),
        run_id=run.run_id,
    )


def numbers_of(run: Run) -> dict[str, float]:
    """Return the numbers of a run's edit that stand in a line, by their headings."""
    found = {
        (r.score.metric, r.score.variant): r.score.value
        for r in run.scores
        if (r.state, r.quantization) == ("edit", "none")
    }
    layout = layout_of(run.record.family, run.record.settings)
    return {
        reading.heading: value
        for reading in (layout.progress if layout else ())
        for (metric, variant), value in found.items()
        if metric == reading.metric and fnmatchcase(variant, reading.variant) and value is not None
    }


def told(run: Run, acceptance: Acceptance) -> tuple[str, Decision | None]:
    """Return a line on a complete run, and what today's bounds say of it."""
    verdict = by_bounds(run, acceptance)
    words = [
        " ".join(f"{heading} {value:.1f}" for heading, value in numbers_of(run).items()),
        *([verdict.decision.value + verdict.by] if verdict else []),
        f"run {run.run_id}",
    ]
    return " · ".join(filter(None, words)), verdict.decision if verdict else None


def _forget_peak() -> None:
    """Start this process's peak of memory anew, so that a job does not report that of the one before; Linux
    only.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return
