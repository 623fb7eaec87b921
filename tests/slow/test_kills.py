"""SIGKILL at random moments of runs, sweeps, grids and patches: nothing is lost and nothing half stays."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import stopped_runs as stops
import torch
from safetensors.torch import save_file

from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import complete_runs
from razor_cli.weights.patch import undo_path_for, write_patch

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc"),
]
KILLS = 30
METHODS = ("none", "random", "slug", "gate")
COMMANDS = {
    "run": ["method=razor"],
    "sweep": ["-m", f"method={','.join(METHODS)}"],
    "grid": ["experiment=mine", "jobs=2"],
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "user"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))  # of a grid's processes
    return stops.home(tmp_path, *METHODS)


def forked(work: Callable[[], int]) -> int:
    """Do some work quietly in a child with a session of its own, and return the child's id."""
    child = os.fork()
    if child:
        return child
    code = 99
    try:
        os.setsid()
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        code = work()
    finally:
        os._exit(code)


def finished(work: Callable[[], int]) -> tuple[int, float]:
    """Do some work in a child to its end; return its exit code and how long it took."""
    began = time.monotonic()
    _, status = os.waitpid(forked(work), 0)
    return os.waitstatus_to_exitcode(status), time.monotonic() - began


def killed(work: Callable[[], int], seconds: float) -> float:
    """Do some work in a child and kill it after a time; return 0, or how long it took if it ended before."""
    child, began = forked(work), time.monotonic()
    end = began + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            assert os.waitstatus_to_exitcode(status) == 0
            return time.monotonic() - began
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    gone = time.monotonic() + 2
    while stops.living(child):
        assert time.monotonic() < gone, "processes outlive their parent"
        time.sleep(0.01)
    return 0.0


def files(outputs: Path) -> dict[str, dict[str, object]]:
    """Return of every complete run what is the same whenever it is computed: all but times."""
    wanted = ("scores.csv", "survival.csv", "split.json", "patch.safetensors")
    found: dict[str, dict[str, object]] = {}
    for run in complete_runs(outputs):
        log = [{k: v for k, v in event.items() if k != "seconds"} for event in run.events]
        found[run.run_id] = {"edit_log.csv": log}
        found[run.run_id] |= {n: run.path(n).read_bytes() for n in wanted if run.path(n).is_file()}
    return found


@pytest.mark.parametrize("kind", COMMANDS)
def test_killed_runs_lose_nothing(home: Path, kind: str) -> None:
    draw, killings, seed = random.Random(kind), 0, 0
    before: dict[str, dict[str, object]] = {}

    def command(seed: int, place: str = "outputs") -> Callable[[], int]:
        words = [*stops.WORDS, *COMMANDS[kind], f"seed={seed}", f"output_dir={place}"]
        return lambda: run_command(words)

    code, whole = finished(command(0, "undisturbed"))
    assert code == 0
    moments = []
    while killings < KILLS:
        seconds = draw.uniform(0, 1.1 * whole)
        if took := killed(command(seed), seconds):
            seed, whole = seed + 1, took
        else:
            killings += 1
            moments.append(seconds)
        now = files(home / "outputs")
        assert before.items() <= now.items()
        before = now
    for each in range(seed + 1):
        assert finished(command(each))[0] == 0
        assert each == 0 or finished(command(each, "undisturbed"))[0] == 0
    after = files(home / "outputs")
    assert after == files(home / "undisturbed") and before.items() <= after.items()
    assert stops.left_over(home) == []
    print(f"{kind}: {killings} kills at {min(moments):.2f} to {max(moments):.2f} of {whole:.2f} s, none lost")


def patched(home: Path) -> Iterator[Path]:
    """Write weights of 20 MB and two patches of them; return the patches."""
    generator = torch.Generator().manual_seed(0)
    base = {f"w{i}": torch.randn(512, 1280, generator=generator) for i in range(8)}
    save_file(base, home / "base.safetensors")
    for number in (1, 2):
        place = home / f"p{number}.safetensors"
        write_patch(place, {f"w{i}": base[f"w{i}"] + number for i in range(4)}, base, method="m", target="x")
        yield place


def test_killed_patches_are_applied_whole_or_not_at_all(home: Path) -> None:
    first, second = patched(home)
    out, draw, counts = home / "out.safetensors", random.Random("patch"), {"old": 0, "new": 0}

    def apply(patch: Path, place: Path = out) -> int:
        words = ["patch", "apply", str(patch), "--base", "base.safetensors", "--out", str(place)]
        return razor_command([*words, "--force"])

    def pair(place: Path) -> tuple[bytes | None, bytes | None]:
        return tuple(p.read_bytes() if p.exists() else None for p in (place, undo_path_for(place)))  # type: ignore[return-value]

    (home / "whole").mkdir()
    whole = {p: home / "whole" / p.name for p in (first, second)}
    took = [finished(lambda p=p: apply(p, whole[p]))[1] for p in whole]  # type: ignore[misc]
    for number in range(KILLS):
        for path in (out, undo_path_for(out)):
            path.unlink(missing_ok=True)
        if number % 2:  # over what is there already
            assert finished(lambda: apply(first))[0] == 0
        old = pair(out)
        while killed(lambda: apply(second), draw.uniform(0, 1.1 * max(took))):
            pass
        assert pair(out)[1] in (old[1], pair(whole[second])[1])  # under its lasting name a whole one
        assert finished(lambda: razor_command(["patch", "show", str(first)]))[0] == 0  # the next start
        assert stops.left_over(home) == []
        assert pair(out) in (old, pair(whole[second]))
        counts["new" if pair(out) == pair(whole[second]) else "old"] += 1
        assert finished(lambda: apply(second))[0] == 0 and pair(out) == pair(whole[second])
    print(f"patch apply: {KILLS} kills within {max(took):.2f} s, after the next start {counts}, none half")
