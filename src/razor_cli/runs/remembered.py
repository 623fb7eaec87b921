"""What was computed from files, remembered until one of them changes: a hash of large weights is taken once.

A file is known by its place, size, and times of last change of content (mtime) and of anything (ctime, which
nobody can set back). Every memory is a small file of its own under the user's cache folder, replaced as a
whole, so parallel processes need no lock. What is damaged, or cannot be written, is computed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from razor_cli.atomic import staged
from razor_cli.caches import cache_dir

FOLDER = "remembered"
SETTLED = 2 * 10**9  # ns: a file changed later than this before it was read may change again unseen

Stat = list[int]  # size, mtime_ns, ctime_ns


def file_hash(path: Path | str) -> str:
    """Return the SHA-256 of a file's bytes. Raises OSError if it cannot be read."""

    def compute() -> str:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return remember("sha256", [path], compute)


def remember(kind: str, paths: Sequence[Path | str], compute: Callable[[], str]) -> str:
    """Return what `compute` made of these files when it was last asked, if none has changed since; else
    compute it.

    `kind` names the computation, its version included. With a file that is missing nothing is remembered.
    """
    files = _placed(paths)
    place = cache_dir() / FOLDER / f"{_key(kind, files)}.json"
    began, before = time.time_ns(), _stats(files)
    if before is None:
        return compute()
    known = _recall(place, before)
    if known is not None:
        return known
    value = compute()
    settled = all(began - max(changed) > SETTLED for _, *changed in before)
    if settled and before == _stats(files):
        _keep(place, before, value)
    return value


def _placed(paths: Sequence[Path | str]) -> list[Path]:
    """Return files by the real places of their folders, each of which is looked up once: a package has
    hundreds of files in a few.
    """
    split = [os.path.split(path) for path in paths]
    real = {folder: Path(os.path.realpath(folder)) for folder in {folder for folder, _ in split}}
    return [real[folder] / name for folder, name in split]


def _key(kind: str, files: Sequence[Path]) -> str:
    return hashlib.sha256("\0".join([kind, *map(str, files)]).encode(errors="surrogateescape")).hexdigest()[
        :32
    ]


def _stats(files: Sequence[Path]) -> list[Stat] | None:
    try:
        found = [file.stat() for file in files]
    except OSError:
        return None
    return [[s.st_size, s.st_mtime_ns, s.st_ctime_ns] for s in found]


def _sum(stats: list[Stat], value: str) -> str:
    """Return a checksum: a byte of a hash that flipped on disk would be another hash."""
    return f"{zlib.crc32(json.dumps([stats, value]).encode()):08x}"


def _recall(place: Path, stats: list[Stat]) -> str | None:
    try:
        memory = json.loads(place.read_bytes())
        sound = memory["sum"] == _sum(memory["stats"], memory["value"])
        value = memory["value"] if sound and memory["stats"] == stats else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return value if isinstance(value, str) else None


def _keep(place: Path, stats: list[Stat], value: str) -> None:
    with suppress(OSError), staged(place) as part:
        memory = {"stats": stats, "value": value, "sum": _sum(stats, value)}
        part.write_text(json.dumps(memory), encoding="utf-8")
        part.replace(place)
