"""Gradients at the unedited weights, kept on disk by what they depend on and shared between runs."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from filelock import FileLock
from safetensors import SafetensorError
from torch import Tensor

from razor_cli.atomic import staged
from razor_cli.engine.checked import read_checked, write_checked


def content_key(parts: Mapping[str, object]) -> str:
    """Return the hash that names a cache entry; equal parts give equal names whatever their order."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:32]


class TensorCache:
    """A folder of safetensors files named by content key.

    Entries are written to a name of their own and moved into place, so a killed process leaves no half entry;
    one that is damaged, be it by a single byte, is computed again. A lock per entry lets parallel jobs wait
    for the first instead of all computing it. Beyond `limit` bytes the entries that were used longest ago go.
    """

    def __init__(self, folder: Path, limit: float | None = None) -> None:
        self.folder, self.limit = folder, limit
        self.damaged: set[str] = set()  # keys of entries that were not what had been written

    def path(self, key: str) -> Path:
        """Return the file of an entry."""
        return self.folder / f"{key}.safetensors"

    def load(self, key: str) -> dict[str, Tensor] | None:
        """Return an entry, or None if it is absent or damaged (a damaged one is removed)."""
        path = self.path(key)
        try:
            found, _ = read_checked(path)
            with contextlib.suppress(OSError):  # a read-only cache serves all the same
                os.utime(path)
            return found
        except FileNotFoundError:
            return None
        except (SafetensorError, OSError, ValueError):
            self.damaged.add(key)
            with contextlib.suppress(OSError):
                path.unlink()
            return None

    def notes(self) -> list[str]:
        """Return what a reader of the run must know: that entries were damaged."""
        count = len(self.damaged)
        return [f"cache: {count} entries were damaged on disk and were computed again"] if count else []

    def save(self, key: str, tensors: Mapping[str, Tensor]) -> None:
        """Write an entry atomically."""
        with staged(self.path(key)) as part:
            write_checked(part, tensors)
            part.replace(self.path(key))
        self.trim(keep=key)

    def trim(self, keep: str = "") -> None:
        """Remove the entries used longest ago until the rest fits the limit; never the entry `keep`."""
        if self.limit is None:
            return
        entries = []
        for path in self.folder.glob("*.safetensors"):
            with contextlib.suppress(FileNotFoundError):  # another process trims, too
                stat = path.stat()
                entries.append((stat.st_mtime_ns, stat.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries, key=lambda e: e[0]):
            if total <= self.limit:
                return
            if path.stem != keep:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
                total -= size

    def get(self, key: str, compute: Callable[[], Mapping[str, Tensor]]) -> tuple[dict[str, Tensor], bool]:
        """Return an entry and whether it was there, computing and saving it if not."""
        found = self.load(key)
        if found is not None:
            return found, True
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / f"{key}.lock"):
            found = self.load(key)
            if found is not None:
                return found, True
            tensors = dict(compute())
            self.save(key, tensors)
            return tensors, False
