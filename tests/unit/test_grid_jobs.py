"""Jobs of a grid in processes of their own, and what is said of them at the end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import Any

import pytest

from razor_cli.grid import jobs
from razor_cli.grid.points import Job
from razor_cli.stopping import Stopped


def job(number: int) -> Job:
    return Job(number=number, point={}, experiment=None, command=f"razor-run seed={number}")  # type: ignore[arg-type]


def serve(pipe: Any, threads: int) -> None:
    """Stand for a worker: dies at job 2, is slow at none."""
    while True:
        try:
            number, _ = pipe.recv()
        except EOFError:
            return
        if number == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        pipe.send(jobs.Ended(number=number, seconds=float(threads), computed=True))


def test_process_that_dies_takes_only_its_job_with_it() -> None:
    started, ended = set(), {}
    for at in jobs.spread([job(n) for n in range(1, 6)], 2, print, serve):
        if isinstance(at, Job):
            started.add(at.number)
        else:
            ended[at.number] = at
    assert started == set(ended) == {1, 2, 3, 4, 5}
    assert [n for n, e in ended.items() if e.error] == [2]
    assert "killed by signal 9 (out of memory?)" in ended[2].error


def test_processes_end_when_the_loop_is_left() -> None:
    source = jobs.spread([job(n) for n in (1, 3, 4)], 2, print, serve)
    next(source)
    assert multiprocessing.active_children()
    source.close()
    deadline = time.monotonic() + 10
    while multiprocessing.active_children() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert multiprocessing.active_children() == []


def deaf(pipe: Any, threads: int) -> None:
    """Stand for a worker in a call that no signal interrupts."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pipe.recv()
    pipe.send("is deaf")
    time.sleep(60)


def test_process_that_does_not_end_is_killed_and_what_it_says_is_passed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "PATIENCE", 0.2)
    named: Any = SimpleNamespace(number=1, experiment=None, label="razor on owl")
    said: list[str] = []

    def hear(text: str) -> None:
        said.append(text)
        raise Stopped(signal.SIGTERM)

    with pytest.raises(Stopped):
        list(jobs.spread([named], 1, hear, deaf))
    assert said == ["razor on owl: is deaf"] and multiprocessing.active_children() == []


def test_summary_names_failed_jobs_and_how_to_run_them_again() -> None:
    planned = [job(n) for n in (1, 2, 3)]
    ended = [
        jobs.Ended(number=1, seconds=1.0, computed=True),
        jobs.Ended(number=2, seconds=1.0, error="RunError: no\nmore"),
    ]
    lines = jobs.summary(ended, planned, 5.0).splitlines()
    assert lines[0] == "3 jobs: 1 computed, 0 recorded before, 1 failed, 5 s"
    assert lines[1:] == [
        "stopped at the first failure (fail_fast=true): 1 not started",
        "  job 2: RunError: no",
        "    rerun: razor-run seed=2",
    ]


def test_bars_of_a_process_leave_no_semaphore_behind() -> None:
    code = (
        "import multiprocessing; multiprocessing.set_start_method('spawn'); made = []\n"
        "from multiprocessing import resource_tracker as t\n"
        "t.register = t._resource_tracker.register = lambda name, kind: made.append(kind)\n"
        "from razor_cli.grid.worker import lock_bars\n"
        "from tqdm import tqdm\n"
        "{}\n"
        "list(tqdm(range(2), disable=False)); print(made)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code.format(c)], capture_output=True, text=True, check=True
        ).stdout
        for c in ("lock_bars()", "pass")
    ]
    assert said[0].strip() == "[]" and "semaphore" in said[1]  # as it would be
