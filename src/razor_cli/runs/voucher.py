"""DONE, the last file of a run folder: it vouches for the bytes of the others, which are not read without."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from razor_cli.errors import UserError

DONE = "DONE"
HEAVY = (".safetensors", ".png")  # no report, table or query reads them; patches hold hashes of their own
CHANGED = "is not what DONE vouches for: it was damaged or changed"


def voucher(folder: Path, run_id: str) -> str:
    """Return what DONE says of the files that lie in a folder now."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != DONE)
    sums = {p.relative_to(folder).as_posix(): _sha256(p) for p in files}
    return json.dumps({"run_id": run_id, "sha256": sums}, indent=2) + "\n"


def flaw(folder: Path, needed: Collection[str], *, whole: bool = False, run_id: str | None = None) -> str:
    """Return why a run folder is not what its DONE says, or nothing. All its files must be there, and those
    that are read must be as they were, byte for byte; with `whole` pictures and patches too. `run_id` is
    whose they are, where the folder is not called so.

    What is found wrong is looked at again beside the same DONE: another process may have put a whole folder
    into this one's place meanwhile.
    """
    before: bytes | None = None
    while why := _flaw(folder, needed, whole, run_id or folder.name):
        said = _done(folder)
        if said == before:
            return why
        before = said
    return ""


def _done(folder: Path) -> bytes | None:
    try:
        return (folder / DONE).read_bytes()
    except OSError:
        return None


def _flaw(folder: Path, needed: Collection[str], whole: bool, run_id: str) -> str:
    try:
        named, sums = _read(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"its DONE cannot be read: {error}"
    if named != run_id:
        return f"its DONE is of run {named}"
    if missing := sorted({*needed} - {*sums}):
        return f"its DONE does not vouch for {', '.join(missing)}"
    looked_at = (_wrong(folder / name, sha256, whole=whole) for name, sha256 in sums.items())
    return next(filter(None, looked_at), "")


def _wrong(path: Path, sha256: str, *, whole: bool) -> str:
    try:
        if not path.is_file():
            return f"{path.name} is missing"
        if (whole or path.suffix not in HEAVY) and _sha256(path) != sha256:
            return f"{path.name} {CHANGED}"
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror}"
    return ""


def vouched_for(folder: Path, name: str) -> bool:
    """Tell whether a folder's DONE names a file."""
    try:
        return name in _read(folder)[1]
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_vouched(path: Path) -> bytes:
    """Return the bytes of a file of a run folder. Raises UserError where its DONE does not vouch for them."""
    for _ in range(2):  # another process may put a whole folder into this one's place between two looks
        content = path.read_bytes()
        try:
            sums = _read(path.parent)[1]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise _damaged(path.parent, f"its DONE cannot be read: {error}") from error
        if sums.get(path.name) == hashlib.sha256(content).hexdigest():
            return content
    raise _damaged(path.parent, f"{path.name} {CHANGED}")


def require_vouched(path: Path) -> None:
    """Raise UserError for a file whose folder's DONE says another hash; a file elsewhere may be anything."""
    known = path.is_file() and vouched_for(path.parent, path.name)
    if known and _read(path.parent)[1][path.name] != _sha256(path):
        raise _damaged(path.parent, f"{path.name} {CHANGED}")


def _damaged(folder: Path, why: str) -> UserError:
    return UserError(f"run {folder.name} cannot be read: {why}", found=folder, fix=AGAIN)


AGAIN = "run its command again with force=true, or remove the folder"


def _read(folder: Path) -> tuple[str, dict[str, str]]:
    """Return the run id and the hashes of DONE; raises ValueError for what names files outside the folder."""
    try:
        said = json.loads((folder / DONE).read_bytes())
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    sums = {str(name): str(sha256) for name, sha256 in dict(said["sha256"]).items()}
    for name in map(PurePosixPath, sums):
        if name.is_absolute() or ".." in name.parts:
            raise ValueError(f"it names '{name}'")
    return str(said["run_id"]), sums


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
