"""Commands that are stopped, killed, made to wait, or cannot print: what they say and what they leave."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import stopped_runs as stops

from razor_cli.main import run_command
from razor_cli.runs.folder import complete_runs

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc"),
]
STOPS = [
    (signal.SIGINT, 130, "interrupted: "),
    pytest.param(signal.SIGTERM, 143, "stopped by SIGTERM: ", marks=pytest.mark.slow),
]
GRID = ("experiment=mine", "jobs=2")

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return stops.home(tmp_path, "none", "wait")


@pytest.fixture
def start(home: Path) -> Iterator[Start]:
    """Give `stopped_runs.start` in `home`; what it started is gone afterwards."""
    children = []

    def call(*words: str, **how: Any) -> subprocess.Popen[str]:
        children.append(stops.start(home, *words, **how))
        return children[-1]

    yield call
    for child in children:
        stops.kill_all(child)


def ended(child: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return exit code, standard output and the last line of standard error; it must be the only one."""
    out, err = child.communicate(timeout=60)
    assert "Traceback" not in out + err
    lines = err.splitlines()
    assert len(lines) <= 1, err
    return child.returncode, out, next(iter(lines), "")


def until_waiting(child: subprocess.Popen[str]) -> str:
    """Read what a process prints until it says that it waits, and return that line."""
    assert child.stdout is not None
    while "waiting" not in (line := child.stdout.readline()):
        assert child.poll() is None
    return line


@pytest.mark.parametrize(("number", "code", "how"), STOPS)
def test_stopped_run_says_what_is_kept_and_leaves_nothing(
    home: Path, start: Start, number: int, code: int, how: str
) -> None:
    child = start("method=wait")
    stops.until(lambda: stops.partials(home), child)
    child.send_signal(number)
    got, _, line = ended(child)
    assert got == code and line.startswith(how) and "the same command goes on" in line
    assert stops.left_over(home) == [] and stops.all_gone(child.pid)
    assert not list(home.rglob("runs/*/wait"))  # no folder without a run


@pytest.mark.parametrize(("number", "code", "how"), STOPS)
def test_stopped_grid_keeps_what_is_done_and_leaves_no_process(
    home: Path, start: Start, number: int, code: int, how: str
) -> None:
    child = start(*GRID)
    stops.until(lambda: stops.recorded(home) == {"none"} and stops.partials(home), child)
    began = time.monotonic()
    os.killpg(child.pid, number)  # as a terminal does: to every process
    got, _, line = ended(child)
    assert got == code and line.startswith(how)
    assert re.search(
        "[01] of 2 jobs had ended; what is recorded is kept, the same command does the others", line
    )
    assert stops.all_gone(child.pid) and time.monotonic() - began < 20
    assert stops.left_over(home) == [] and stops.recorded(home) == {"none"}


def test_stopped_sweep_keeps_what_is_done(home: Path, start: Start) -> None:
    child = start("-m", "method=none,wait")
    stops.until(lambda: stops.recorded(home) == {"none"} and stops.partials(home), child)
    child.terminate()
    code, _, line = ended(child)
    assert code == 143 and "1 jobs of the sweep are recorded and kept" in line
    assert stops.left_over(home) == [] and stops.recorded(home) == {"none"}


@pytest.mark.slow
def test_processes_of_a_grid_end_with_a_parent_that_is_killed(home: Path, start: Start) -> None:
    child = start(*GRID)
    stops.until(lambda: stops.partials(home), child)
    assert len(stops.living(child.pid)) > 1
    child.kill()
    child.wait()
    began = time.monotonic()
    stops.until(lambda: not stops.living(child.pid))
    assert time.monotonic() - began < 2
    assert stops.partials(home)  # nobody was left to remove it
    again = start("method=none")
    assert again.wait(120) == 0 and stops.left_over(home) == []


def test_who_waits_says_so_can_be_stopped_and_takes_over_from_a_dead_process(
    home: Path, start: Start
) -> None:
    first = start("method=wait")
    stops.until(lambda: stops.partials(home), first)
    second, third = start("method=wait"), start("method=wait")
    for child in (second, third):
        assert "another process computes this run: waiting for it" in until_waiting(child)
    third.send_signal(signal.SIGINT)
    assert ended(third)[0] == 130
    (mine,) = stops.partials(home)
    assert mine.name.endswith(f"-{first.pid}")  # a living process's, which nobody swept
    first.kill()
    stops.until(lambda: any(p.name.endswith(f"-{second.pid}") for p in stops.partials(home)), second)
    assert not any(p.name.endswith(f"-{first.pid}") for p in stops.partials(home))


@pytest.mark.parametrize("how", ["closed", pytest.param("no reader", marks=pytest.mark.slow), "full"])
def test_run_that_cannot_print_is_recorded(home: Path, start: Start, how: str) -> None:
    if how == "closed":
        child = start("method=none", preexec_fn=lambda: os.closerange(0, 3))
        assert child.wait(120) == 0
    elif how == "no reader":
        child = start("method=none")
        assert child.stdout is not None
        child.stdout.close()
        assert child.wait(120) == 0 and child.stderr is not None and child.stderr.read() == ""
    else:
        if not Path("/dev/full").exists():
            pytest.skip("the system has no full device")
        with Path("/dev/full").open("w") as full:
            child = start("method=none", stdout=full)
        assert child.wait(120) == 1 and child.stderr is not None
        assert re.fullmatch(r"output was lost: .*No space left.*recorded\n", child.stderr.read())
    assert stops.recorded(home) == {"none"} and stops.left_over(home) == []


@pytest.mark.slow
def test_run_in_the_barest_environment_is_the_same_run(
    home: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = {
        "PYTHONOPTIMIZE": "2",
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "ascii",
    }
    child = start("method=random", env=bare)
    _, err = child.communicate(timeout=120)
    assert child.returncode == 0 and "Traceback" not in err
    (first,) = complete_runs(home / "outputs")
    scores = first.path("scores.csv").read_bytes()
    monkeypatch.chdir(home)
    monkeypatch.setenv("RAZOR_CACHE", str(home / "user"))
    assert run_command([*stops.WORDS, "method=random", "force=true"]) == 0
    (second,) = complete_runs(home / "outputs")
    assert second.run_id == first.run_id and second.path("scores.csv").read_bytes() == scores
    for words in (["show", first.run_id], ["list", "methods"]):
        child = start(*words, program="razor", env={"PYTHONOPTIMIZE": "2", "LC_ALL": "C"})
        out, err = child.communicate(timeout=120)
        assert child.returncode == 0 and out and "Traceback" not in err, err
