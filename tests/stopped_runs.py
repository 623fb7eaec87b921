"""Commands on the toy family in processes of their own, to be stopped and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch as patched

import toy_net

from razor_cli.runs.code import PACKAGE, version_in
from razor_cli.runs.folder import complete_runs

CONF = Path(__file__).parent / "toy_conf"
ALLOWED = "allow_code=[toy_family,toy_data,toy_methods]"
WORDS = ["--config-dir", "conf", ALLOWED, "model=toy", "scenario=identity", "target=owl", "quantization=none"]
GRID = """# @package _global_
defaults:
  - override /model: toy
grid:
  - {{method: [{}]}}
"""


@cache
def made() -> dict[str, bytes]:
    """Return the files that every home begins with, by place: the toy's weights, and what is remembered of
    the sources of the package, so that not every process reads them all.
    """
    with tempfile.TemporaryDirectory() as folder, patched.dict(os.environ, {"RAZOR_CACHE": f"{folder}/user"}):
        toy_net.teach(Path(folder, "toy.safetensors"))
        version_in(PACKAGE, "toy", [])
        files = [p for p in Path(folder).rglob("*") if p.is_file()]
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def home(folder: Path, *methods: str) -> Path:
    """Put the toy's weights and configuration into a folder, with an experiment `mine` over the methods."""
    for name, content in made().items():
        there = folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(content)
    for file in CONF.rglob("*.yaml"):
        there = folder / "conf" / file.relative_to(CONF)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(file.read_bytes())
    (folder / "conf/experiment").mkdir()
    (folder / "conf/experiment/mine.yaml").write_text(GRID.format(", ".join(methods)))
    return folder


def start(place: Path, *words: str, program: str = "razor_run", **how: Any) -> subprocess.Popen[str]:
    """Start a command in a session of its own, with the program's real entry point."""
    code = f"from razor_cli.main import {program}; {program}()"
    whole = [*WORDS, *words] if program == "razor_run" else words
    env = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "RAZOR_CACHE": str(place / "user"),
        "COLUMNS": "140",
    }
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how
    settings["env"] = env | settings.get("env", {})
    return subprocess.Popen(
        [sys.executable, "-c", code, *whole], cwd=place, start_new_session=True, **settings
    )


def until(
    there: Callable[[], object], child: subprocess.Popen[str] | None = None, seconds: float = 100
) -> None:
    """Wait until something holds; fail where it never does, or the child ends before."""
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        assert child is None or child.poll() is None, child.communicate()
        time.sleep(0.02)


def partials(place: Path) -> list[Path]:
    return list(place.glob("outputs/runs/*/*/*.partial-*"))


def recorded(place: Path) -> set[str]:
    """Return the methods of the complete runs."""
    return {run.record.method for run in complete_runs(place / "outputs")}


def left_over(place: Path) -> list[Path]:
    """Return whatever a process writes under a name that does not last."""
    return [p for pattern in ("*.partial-*", ".razor-tmp-*", "*.tmp") for p in place.rglob(pattern)]


def living(session: int) -> list[int]:
    """Return the processes of a session that are no zombies; Linux only."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, group, *_ = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(group) == session and state not in "ZX":
            found.append(int(stat.parent.name))
    return found


def all_gone(session: int) -> bool:
    """Tell whether a stopped command left no process: none of ours at work now, and within two seconds none
    at all. Multiprocessing's own tracker ends only when it finds the pipe to its parent closed.
    """
    ours = [pid for pid in living(session) if not _is_ending(pid)]
    end = time.monotonic() + 2
    while not ours and living(session) and time.monotonic() < end:
        time.sleep(0.01)
    return not ours and not living(session)


def _is_ending(pid: int) -> bool:
    """Tell whether a process is that tracker, or has given its memory back and is about to disappear."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:  # it has ended meanwhile
        return True
    return not words or b"resource_tracker" in words


def kill_all(child: subprocess.Popen[str]) -> None:
    """Leave nothing of a session behind, whatever failed."""
    for pid in living(child.pid):
        os.kill(pid, signal.SIGKILL)
    child.wait()
