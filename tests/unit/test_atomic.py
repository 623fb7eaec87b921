"""Outputs that appear whole or not at all, with kills at every step of a move."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from razor_cli.atomic import LOCK, MOVES, PREFIX, move_into_place, settle, staged


def killed(work: Callable[[], object]) -> None:
    """Do some work in a child process that is killed in it, or at its end."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)


def pair(out: Path, text: str) -> None:
    """Write an output of two files."""
    with staged(out) as part:
        undo = part.with_name(f"{out.name}.undo")
        part.write_text(text)
        undo.write_text(f"before {text}")
        move_into_place([undo, part])


def content(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir()}


def die_at(monkeypatch: pytest.MonkeyPatch, count: int, *, after: bool) -> None:
    """Kill the process at its `count`th rename from now on, before or after it."""
    real, done = os.replace, [0]

    def dying(*places: Any) -> None:
        done[0] += 1
        if done[0] == count and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        real(*places)
        if done[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(os, "replace", dying)


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_kill_at_any_move_leaves_all_or_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, after: bool, there: bool
) -> None:
    out = tmp_path / "out"
    if there:
        pair(out, "old")
    old = content(tmp_path)
    with monkeypatch.context() as patch:
        die_at(patch, count, after=after)
        killed(lambda: pair(out, "new"))
    done = settle(tmp_path)
    decided = (count, after) >= (1, True)
    assert content(tmp_path) == ({"out": "new", "out.undo": "before new"} if decided else old)
    assert bool(done) is (decided and (count, after) < (3, True))
    assert settle(tmp_path) == []


def test_half_written_parts_go_at_the_next_start_and_have_no_lasting_name(tmp_path: Path) -> None:
    def half() -> None:
        with staged(tmp_path / "out") as part:
            part.write_text("new")
            part.with_name("out.undo").write_text("what a person removed")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(PREFIX) and left.stat().st_mode & 0o077 == 0
    pair(tmp_path / "other", "x")  # whoever writes there next
    assert set(content(tmp_path)) == {"other", "other.undo"}


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from razor_cli.atomic import staged\n"
        "with staged(Path(sys.argv[1])) as part:\n"
        "    part.write_text('x'); print(part, flush=True); time.sleep(100)"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "out")]
    child = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        part = Path(child.stdout.readline().strip())
        assert settle(tmp_path) == [] and part.read_text() == "x"
    finally:
        child.kill()
        child.wait()
    assert settle(tmp_path) == [] and list(tmp_path.iterdir()) == []
    with staged(tmp_path / "out") as mine:  # of this process, too
        mine.write_text("x")
        assert settle(tmp_path) == [] and mine.read_text() == "x"


def test_what_was_put_in_the_place_since_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        die_at(patch, 1, after=True)  # decided, and nothing moved
        killed(lambda: pair(tmp_path / "out", "new"))
    (tmp_path / "out").write_text("a person's own")
    assert settle(tmp_path) == [] and content(tmp_path) == {"out": "a person's own"}


def test_what_goes_without_an_output_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, undo = tmp_path / "out", tmp_path / "out.undo"

    def alone() -> None:
        with staged(out) as part:
            part.write_text("new")
            move_into_place([part], without=[undo])

    for count, after in ((1, False), (1, True), (2, False), (2, True)):
        pair(out, "old")
        with monkeypatch.context() as patch:
            die_at(patch, count, after=after)
            killed(alone)
        settle(tmp_path)
        whole = {"out": "old", "out.undo": "before old"}
        assert content(tmp_path) == (whole if (count, after) == (1, False) else {"out": "new"})
    pair(out, "old")
    alone()
    assert content(tmp_path) == {"out": "new"}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_stop_between_the_moves_completes_them_and_a_failure_takes_them_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: type[BaseException]
) -> None:
    real, moved = os.replace, []

    def broken(first: Any, second: Any) -> None:
        moved.append(second)
        if len(moved) == 3:  # the list of moves, the undo, the output
            raise stop
        real(first, second)

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(stop):
        pair(tmp_path / "out", "new")
    assert set(content(tmp_path)) == ({"out", "out.undo"} if stop is KeyboardInterrupt else set())


def test_lists_of_moves_that_are_not_ours_move_nothing(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    folder = tmp_path / "folder" / f"{PREFIX}00000000"
    for text in ('{"moves": {"../x": null}, "removes": {"../../victim": null}}', "[]", "no json", "{}"):
        folder.mkdir(parents=True)
        (folder / LOCK).touch()
        (folder / "x").write_text("x")
        (folder / MOVES).write_text(text)
        assert settle(folder.parent) == [] and list(folder.parent.iterdir()) == []
    assert victim.read_text() == "safe"


def test_other_folders_of_that_name_stay(tmp_path: Path) -> None:
    full, empty, new = (tmp_path / f"{PREFIX}{n}" for n in ("full", "empty", "new"))
    for folder in (full, empty, new):
        folder.mkdir()
    (full / "mine").touch()
    for folder in (full, empty):
        os.utime(folder, (time.time() - 1000,) * 2)
    assert settle(tmp_path) == [] and set(tmp_path.iterdir()) == {full, new}
    assert settle(tmp_path / "absent") == []
