"""What killed and stopped processes leave under a results folder, and how the next one deals with it."""

from __future__ import annotations

import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from fake_runs import fake_run
from filelock import FileLock

from razor_cli.runs.folder import Run, is_complete, open_run, write_atomic

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

    monkeypatch.setattr(Path, "rename", stopped)
    with pytest.raises(KeyboardInterrupt), reopened(run.folder, force=True) as fresh:
        for name in ("scores.csv", "edit_log.csv"):
            write_atomic(fresh.path(name), before[name])
        fresh.finish(record)
    assert contents(run.folder) == before and is_complete(run.folder)
    assert list(run.folder.parent.glob("*.partial-*")) == []


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
