"""Whether results can be written where they will be: tried before anything is computed; nothing is left."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from razor_cli.errors import ConfigError


def require_writable(folder: Path, key: str) -> None:
    """Raise ConfigError where no file could be made in a folder, which need not be there yet.

    `key` is the setting or option that names it, `output_dir` or `--out`.
    """
    if problem := why_not(folder):
        raise ConfigError(f"{key}: {problem}", found=folder, fix=remedy(key))


def remedy(key: str) -> str:
    """Return what to give instead."""
    return f"{key}{' ' if key.startswith('-') else '='}DIR, a folder of yours"


def why_not(folder: Path) -> str:
    """Return what stands against writing in a folder, or in the nearest one above it; or nothing."""
    there = existing(folder)
    return no_place(folder) or ("" if writable(there) else f"cannot write in '{there}'")


def no_place(folder: Path) -> str:
    """Return why nothing can lie in a folder, as far as can be told without writing; or nothing."""
    there = existing(folder)
    if there.is_dir():
        return ""
    what = "a link to nothing" if there.is_symlink() and not there.exists() else "no folder"
    return f"cannot write in '{there}': it is {what}"


def existing(path: Path) -> Path:
    """Return the path, or the nearest thing above it that exists; a link that leads nowhere does."""
    path = path.absolute()
    return next(p for p in (path, *path.parents) if os.path.lexists(p))


def writable(folder: Path) -> bool:
    """Tell whether a file can be made in a folder; none is left."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
