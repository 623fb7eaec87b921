"""The jobs of a grid at work: what is missing, processes that die, and what is said at the end."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.grid import jobs as grid_jobs
from razor_cli.grid import points as grid
from razor_cli.grid.plan import Row, duration, totals


def test_weights_that_would_have_to_be_fetched_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    real: dict[str, Any] = {"stand_in": False, "library": Library.OPEN_CLIP, "architecture": "ViT-B-32"}
    assert "not on this machine" in ClipSpec(name="m", weights="laion2b_s34b_b79k", **real).missing()
    (tmp_path / "w.pt").touch()
    assert ClipSpec(name="m", weights=str(tmp_path / "w.pt"), **real).missing() == "" == ClipSpec().missing()


def test_totals_and_durations() -> None:
    rows = [Row(number=1, label="a", state="recorded"), Row(number=2, label="b", state="cannot: no data")]
    assert totals(rows) == ["2 jobs: 1 recorded, 1 cannot run"]
    assert [duration(s) for s in (12.4, 89, 91, 5400, 7200)] == ["12 s", "89 s", "2 min", "1.5 h", "2.0 h"]


# Processes


def job(number: int) -> grid.Job:
    return grid.Job(number=number, point={}, experiment=None, command=f"razor-run seed={number}")  # type: ignore[arg-type]


def serve(pipe: Any, threads: int) -> None:
    """Stand for a worker: dies at job 2, is slow at none."""
    while True:
        try:
            number, _ = pipe.recv()
        except EOFError:
            return
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send(grid_jobs.Ended(number=number, seconds=float(threads), computed=True))


def test_process_that_dies_takes_only_its_job_with_it() -> None:
    started, ended = set(), {}
    for at in grid_jobs.spread([job(n) for n in range(1, 6)], 2, serve):
        if isinstance(at, grid.Job):
            started.add(at.number)
        else:
            ended[at.number] = at
    assert started == set(ended) == {1, 2, 3, 4, 5}
    assert [n for n, e in ended.items() if e.error] == [2]
    assert "killed by signal 9 (out of memory?)" in ended[2].error


def test_processes_end_when_the_loop_is_left() -> None:
    import multiprocessing

    source = grid_jobs.spread([job(n) for n in (1, 3, 4)], 2, serve)
    next(source)
    assert multiprocessing.active_children()
    source.close()
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert multiprocessing.active_children() == []


def test_termination_ends_the_processes_too() -> None:
    import multiprocessing

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as raised, grid_jobs.ending_on_termination():
        source = grid_jobs.spread([job(n) for n in (1, 3, 4)], 2, serve)
        with contextlib.closing(source):
            next(source)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(5)
    assert raised.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert multiprocessing.active_children() == []


def test_summary_names_failed_jobs_and_how_to_run_them_again() -> None:
    jobs = [job(n) for n in (1, 2, 3)]
    ended = [
        grid_jobs.Ended(number=1, seconds=1.0, computed=True),
        grid_jobs.Ended(number=2, seconds=1.0, error="RunError: no\nmore"),
    ]
    lines = grid_jobs.summary(ended, jobs, 5.0).splitlines()
    assert lines[0] == "3 jobs: 1 computed, 0 recorded before, 1 failed, 5 s"
    assert lines[1:] == [
        "stopped at the first failure (fail_fast=true): 1 not started",
        "  job 2: RunError: no",
        "    rerun: razor-run seed=2",
    ]
