"""What processes leave in a results folder: the lock of a run, and what a dead one had not finished."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from razor_cli.atomic import settle
from razor_cli.caches import cache_dir

WRITTEN_TO = ("cache", "cache/training", "propositions", "runs", "tables")  # below output_dir
KEPT_IN = ("remembered", "rendered/*/*")  # below the user's cache folder


@contextmanager
def locked(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a run's folder; where another process holds it, `say` so and wait for that one to end.

    The system frees the lock of a process that died, so nobody waits for the dead.
    """
    lock = FileLock(_lock_path(folder.parent, folder.name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"another process computes this run: waiting for it ({folder.name}; Ctrl-C ends the waiting)")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock_path(parent: Path, run_id: str) -> str:
    return str(parent / f".{run_id}.lock")


def sweep_partials(runs: Path, whole: Callable[[Path, str], bool]) -> None:
    """Settle the partial folders of dead jobs, which are those nobody has the lock of."""
    for leftover in sorted(runs.glob("*/*/*.partial-*")):
        place = leftover.with_name(leftover.name.split(".")[0])
        lock = FileLock(_lock_path(place.parent, place.name))
        try:
            lock.acquire(timeout=0)
        except (Timeout, OSError):  # it lives, or the folder is not ours to write in
            continue
        try:
            settle_run(place, whole)
        finally:
            lock.release()


def settle_run(place: Path, whole: Callable[[Path, str], bool]) -> None:
    """Remove what jobs left beside the place of a run, whose lock the caller holds.

    One that is `whole` lacked only its last move, or was moved aside for another that did not come: where
    nothing lies in its place, it goes there.
    """
    for leftover in sorted(place.parent.glob(f"{place.name}.partial-*")):
        if not place.exists() and whole(leftover, place.name):
            with suppress(OSError):
                leftover.rename(place)
        shutil.rmtree(leftover, ignore_errors=True)


def settle_caches(output_dir: Path) -> None:
    """Settle what dead processes were writing into the caches, and beside tables and propositions."""
    user = cache_dir()
    for folder in (*(output_dir / name for name in WRITTEN_TO), *(f for g in KEPT_IN for f in user.glob(g))):
        settle(folder)
