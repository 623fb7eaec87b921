"""Outputs that appear whole or not at all: written in a folder of their own beside the goal, then moved into
place.

    <parent>/.razor-tmp-<8 hex digits>/   the parts; `.lock`, held while their process lives; and `.moves`,
                                          written once all parts of an output of several files are whole

What a killed process left is settled by the next one that writes beside it or starts there: moves that were
decided are completed, all else is removed. What a living process writes is not touched.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filelock import BaseFileLock

PREFIX = ".razor-tmp-"
LOCK, MOVES = ".lock", ".moves"
SETTLED = 60  # seconds after which an empty folder without a lock is nobody's
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # of Linux's renameat2

Stamp = list[int] | None  # inode and time of change of what a move replaces; None where nothing lies


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Give a place beside `path`, of the same name; what still lies there afterwards is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settle(path.parent)
    folder, lock = _opened(path.parent)
    try:
        yield folder / path.name
    finally:
        _close(folder, lock)


def move_into_place(parts: Sequence[Path], without: Sequence[Path] = ()) -> None:
    """Move the whole parts of one output out of their staging folder, and remove what goes `without` them.

    A kill leaves none of it or all of it, once the next process has settled the folder. If one part cannot be
    moved, those before it are removed again.
    """
    folder = parts[0].parent
    if len(parts) == 1 and not without:
        parts[0].replace(folder.parent / parts[0].name)
        return
    names = [p.name for p in parts]
    decided = {
        "moves": {name: _stamp(folder.parent / name) for name in names},
        "removes": {p.name: _stamp(p) for p in without},
    }
    draft = folder / f"{MOVES}.new"
    draft.write_text(json.dumps(decided), encoding="utf-8")
    draft.replace(folder / MOVES)
    done: list[Path] = []
    try:
        for name in names:
            (folder / name).replace(folder.parent / name)
            done.append(folder.parent / name)
        for path in without:
            path.unlink(missing_ok=True)
    except Exception:  # a stop is no failure: the moves are completed on the way out
        (folder / MOVES).unlink()
        for path in done:
            path.unlink(missing_ok=True)
        raise


def exchanged(first: Path, second: Path) -> bool:
    """Let two folders change places in one step of the file system; tell whether it could."""
    if sys.platform != "linux":
        return False
    import ctypes

    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):  # a C library without it
        return False
    here, names = ctypes.c_int(AT_FDCWD), [ctypes.c_char_p(os.fsencode(p)) for p in (first, second)]
    return bool(rename(here, names[0], here, names[1], ctypes.c_uint(RENAME_EXCHANGE)) == 0)


def settle(folder: Path) -> list[Path]:
    """Complete or remove what killed processes left in a folder; return the outputs that were completed."""
    completed: list[Path] = []
    for left in sorted(folder.glob(f"{PREFIX}*")):
        with suppress(OSError):  # a folder that is not ours to write in, or that another process settles
            if not (left / LOCK).is_file():
                if time.time() - left.stat().st_mtime > SETTLED:
                    left.rmdir()
            elif (lock := _taken(left)) is not None:
                completed += _close(left, lock)
    return completed


def _opened(parent: Path) -> tuple[Path, BaseFileLock | None]:
    """Make a staging folder and take its lock; None where the file system knows no locks."""
    from filelock import FileLock, Timeout

    while True:
        folder = parent / f"{PREFIX}{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue  # another process took the folder, just made, for one that was left
        except (OSError, NotImplementedError):
            return folder, None
        if (folder / LOCK).is_file():
            return folder, lock
        lock.release()  # the same, and it is gone already


def _taken(folder: Path) -> BaseFileLock | None:
    """Return the lock of a staging folder if its process is dead."""
    from filelock import FileLock, Timeout

    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        return None
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):
        return None
    return lock


def _close(folder: Path, lock: BaseFileLock | None) -> list[Path]:
    """Complete decided moves, remove the folder and release its lock; return what was completed."""
    try:
        return _complete(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            lock.release()


def _complete(folder: Path) -> list[Path]:
    """Do the decided moves that are not done yet, unless their goal has become something else since."""
    try:
        decided = json.loads((folder / MOVES).read_bytes())
        moves, removes = dict(decided["moves"]), dict(decided["removes"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    if any(Path(name).name != name for name in (*moves, *removes)):
        return []  # nothing that this module wrote
    waiting = {name: stamp for name, stamp in moves.items() if os.path.lexists(folder / name)}
    if any(_stamp(folder.parent / name) != stamp for name, stamp in waiting.items()):
        return []
    for name in waiting:
        (folder / name).replace(folder.parent / name)
    for name, stamp in removes.items():
        if stamp is not None and _stamp(folder.parent / name) == stamp:
            (folder.parent / name).unlink()
    return [folder.parent / name for name in moves] if waiting or removes else []


def _stamp(path: Path) -> Stamp:
    try:
        found = path.lstat()
    except OSError:
        return None
    return [found.st_ino, found.st_mtime_ns]
