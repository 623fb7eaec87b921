"""Outputs that appear whole or not at all: write beside the goal, then move into place."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Give a fresh name beside `path`, with the same ending; what still lies under it afterwards
    is removed.
    """
    part = path.with_name(f".tmp-{secrets.token_hex(4)}-{path.name}")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield part
    finally:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)


def move_into_place(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move finished files or folders (from, to); if one cannot be moved, those before it are
    removed again.
    """
    done: list[Path] = []
    try:
        for part, path in moves:
            part.replace(path)
            done.append(path)
    except BaseException:
        for path in done:
            path.unlink(missing_ok=True)
        raise
