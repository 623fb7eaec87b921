"""What killed and stopped processes leave under a results folder, and how the next one deals with it."""

from __future__ import annotations

import shutil
import signal
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fake_runs import fake_run
from filelock import FileLock

from razor_cli.runs import folder as run_folders
from razor_cli.runs.folder import Run, complete_runs, is_complete, open_run, write_atomic
from razor_cli.stopping import Stopped

ID, OTHER = "0123456789abcdef", "fedcba9876543210"


def reopened(folder: Path, *, force: bool = False) -> AbstractContextManager[Run]:
    """Open the place of a run again."""
    return open_run(folder.parents[3], folder.parents[1].name, folder.parent.name, folder.name, force=force)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_partials_are_swept_wherever_a_run_is_opened(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    elsewhere = tmp_path / "runs/class/slug" / f"{OTHER}.partial-1"
    for name in ("cache/.razor-tmp-00000000", "tables/.razor-tmp-00000000", elsewhere):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / ".lock").touch()
    with reopened(run.folder) as again:
        assert again.complete
    assert [*tmp_path.rglob("*.partial-*"), *tmp_path.rglob(".razor-tmp-*")] == []


@pytest.mark.parametrize("names", [("partial-7",), ("partial-7-old",), ("partial-7", "partial-7-old")])
def test_run_that_lacked_its_last_move_or_was_moved_aside_is_not_lost(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    run = fake_run(tmp_path)
    before = contents(run.folder)
    for name in names:
        shutil.copytree(run.folder, run.folder.with_name(f"{run.run_id}.{name}"))
    shutil.rmtree(run.folder)
    with reopened(run.folder) as again:
        assert again.complete and contents(again.folder) == before
    assert list(run.folder.parent.glob("*.partial-*")) == []


def test_stop_between_the_moves_of_a_forced_run_keeps_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake_run(tmp_path)
    before, record, real = contents(run.folder), run.record, Path.rename

    def stopped(self: Path, place: Path) -> Path:
        if place == run.folder and not self.name.endswith("-old"):
            raise KeyboardInterrupt
        return real(self, place)

    monkeypatch.setattr(run_folders, "exchanged", lambda *_: False)  # as on a system that cannot
    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), reopened(run.folder, force=True) as fresh:
        for name in ("scores.csv", "edit_log.csv"):
            write_atomic(fresh.path(name), before[name])
        fresh.finish(record)
    assert contents(run.folder) == before and is_complete(run.folder)
    assert list(run.folder.parent.glob("*.partial-*")) == []


def finished_again(run: Run) -> None:
    """Record a run anew in its own place."""
    with reopened(run.folder, force=True) as fresh:
        for name in ("scores.csv", "edit_log.csv"):
            write_atomic(fresh.path(name), run.path(name).read_bytes())
        fresh.finish(run.record)


def test_stop_before_the_last_move_keeps_the_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*_: Path) -> None:
        raise Stopped(signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(run_folders, "replace_folder", stopped)
        fake_run(tmp_path)
    (run,) = complete_runs(tmp_path)
    assert is_complete(run.folder) and list(run.folder.parent.glob("*.partial-*")) == []


@pytest.mark.parametrize("names", [("partial-7-old",), ("partial-7", "partial-7-old")])
def test_who_waited_for_a_process_that_died_finds_the_run_it_moved_aside(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    run = fake_run(tmp_path)
    before, aside = contents(run.folder), tmp_path / "aside"
    run.folder.rename(aside)
    lock = FileLock(str(run.folder.with_name(f".{run.run_id}.lock")))
    lock.acquire()

    def dies(_: str) -> None:
        for name in names:
            shutil.copytree(aside, run.folder.with_name(f"{run.run_id}.{name}"))
        lock.release()

    with open_run(tmp_path, "identity", "razor", run.run_id, say=dies) as again:
        assert again.complete and contents(again.folder) == before
    assert list(run.folder.parent.glob("*.partial-*")) == []


def test_a_run_that_is_recorded_anew_is_there_at_every_moment(tmp_path: Path) -> None:
    run, over, seen = fake_run(tmp_path), threading.Event(), [0, 0]

    def look() -> None:
        while not over.is_set():
            seen[bool(complete_runs(tmp_path, rows=True))] += 1

    looking = threading.Thread(target=look)
    looking.start()
    for _ in range(60):
        finished_again(run)
    over.set()
    looking.join()
    assert seen[0] == 0 and seen[1] > 10


def test_who_waits_says_so(tmp_path: Path) -> None:
    said: list[str] = []

    def heard(text: str) -> None:
        said.append(text)
        raise KeyboardInterrupt  # the waiting can be ended

    lock = tmp_path / "runs/identity/razor" / f".{ID}.lock"
    lock.parent.mkdir(parents=True)
    opened = open_run(tmp_path, "identity", "razor", ID, say=heard)
    with FileLock(str(lock)), pytest.raises(KeyboardInterrupt), opened:
        raise AssertionError("another has it")
    assert len(said) == 1 and "another process computes this run: waiting" in said[0]
    with open_run(tmp_path, "identity", "razor", ID, say=heard) as run:
        assert not run.complete and len(said) == 1  # the lock of the dead blocks nobody
