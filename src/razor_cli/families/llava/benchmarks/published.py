"""The published question sets that are read, each from a folder, and the hash of all that lies in one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from razor_cli.families.llava.benchmarks.items import QuestionSet
from razor_cli.families.llava.benchmarks.readers_gqa import read_gqa
from razor_cli.families.llava.benchmarks.readers_mmbench import read_mmbench
from razor_cli.families.llava.benchmarks.readers_mme import read_mme
from razor_cli.runs.remembered import file_hash, remember

READERS: Mapping[str, Callable[[Path, str], QuestionSet]] = {
    "mme": read_mme,
    "gqa": read_gqa,
    "mmbench": read_mmbench,
}
VERSION = 1  # of what reading checks; raise it so that folders are checked anew


def read(name: str, folder: Path) -> QuestionSet:
    """Return a published set. Raises DataError for a folder that does not hold it as it is published."""
    return READERS[name](folder, f"metrics.{name}")


def checked_digest(name: str, folder: Path) -> str:
    """Return the hash of all files of a folder, after the set was read once. Raises DataError where it cannot
    be read; a folder that was read is remembered until a file changes.
    """
    files = sorted(f for f in folder.rglob("*") if f.is_file())

    def compute() -> str:
        read(name, folder)
        lines = [f"{f.relative_to(folder).as_posix()} {file_hash(f)}" for f in files]
        return hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest()

    return remember(f"questions {name} {VERSION}", files, compute) if files else compute()
