"""Run folders: opened under a lock, written beside their final place, complete only when `DONE` vouches for
them.

    <output_dir>/runs/<scenario>/<method>/<run id>/
        resolved_config.yaml  run.json  scores.csv  edit_log.csv  patch.safetensors  *.png  DONE

A run is written into `<run id>.partial-<pid>` and moved into place as its last act, so a killed run leaves
only a partial folder, which the next run in that place sweeps away.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]
from filelock import FileLock, Timeout

from razor_cli.errors import RunError, UserError
from razor_cli.runs.records import Identity, RunRecord
from razor_cli.runs.rows import ScoreRow, Where, events_csv, read_scores, scores_csv
from razor_cli.runs.writable import require_writable

if TYPE_CHECKING:  # both need torch or stand above this module
    from razor_cli.contract.edit import Event
    from razor_cli.metrics.score import Score

log = logging.getLogger(__name__)

CONFIG, RECORD, SCORES, EDIT_LOG, DONE = (
    "resolved_config.yaml",
    "run.json",
    "scores.csv",
    "edit_log.csv",
    "DONE",
)
SURVIVAL = "survival.csv"
VOUCHED = (
    RECORD,
    SCORES,
    EDIT_LOG,
)  # small and needed by every reader: their bytes are checked, not only their names
RUN_ID = re.compile(r"[0-9a-f]{16}")


class Run:
    """One run: complete and readable, or being written. Opened with `open_run`, found with `find_run`."""

    def __init__(self, folder: Path, *, partial: Path | None = None) -> None:
        self.folder = folder  # the final place, also while the files still lie in `partial`
        self._partial = partial

    @property
    def run_id(self) -> str:
        """The folder's name."""
        return self.folder.name

    @property
    def complete(self) -> bool:
        """Tell whether nothing is left to compute."""
        return self._partial is None

    def path(self, name: str) -> Path:
        """Return where the file `name` lies now, for writing or reading."""
        return (self._partial or self.folder) / name

    def write_config(self, settings: Mapping[str, object]) -> None:
        """Write resolved_config.yaml."""
        plain = json.loads(json.dumps(settings, default=str))
        write_atomic(self.path(CONFIG), yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120))

    def write_scores(self, identity: Identity, scores: Mapping[Where, Sequence[Score]]) -> None:
        """Write scores.csv from Places, at least (state, quantization), -> scores."""
        write_atomic(self.path(SCORES), scores_csv(identity, scores))

    def write_log(self, events: Sequence[Event]) -> None:
        """Write edit_log.csv, one row per event."""
        write_atomic(self.path(EDIT_LOG), events_csv(self.run_id, events))

    def finish(self, record: RunRecord) -> None:
        """Write run.json, vouch for all files in DONE, and move the folder into place.

        Raises RunError when scores.csv or edit_log.csv was not written, or the record is another run's.
        """
        if self._partial is None:
            raise RunError(f"run {self.run_id} is already complete")
        if record.run_id != self.run_id:
            raise RunError(f"the record of run {record.run_id} cannot finish run {self.run_id}")
        write_atomic(self.path(RECORD), record.model_dump_json(indent=2) + "\n")
        missing = [name for name in VOUCHED if not self.path(name).is_file()]
        if missing:
            raise RunError(f"run {self.run_id} cannot be finished without {', '.join(missing)}")
        write_atomic(self.path(DONE), _voucher(self._partial, self.run_id))
        replace_folder(self._partial, self.folder)
        self._partial = None

    @cached_property
    def record(self) -> RunRecord:
        """run.json as recorded."""
        return RunRecord.model_validate_json(self.path(RECORD).read_bytes())

    @cached_property
    def scores(self) -> list[ScoreRow]:
        """The rows of scores.csv, in file order."""
        return read_scores(self.path(SCORES).read_text(encoding="utf-8"))

    @cached_property
    def events(self) -> list[dict[str, str]]:
        """The rows of edit_log.csv, as text."""
        return list(csv.DictReader(io.StringIO(self.path(EDIT_LOG).read_text(encoding="utf-8"), newline="")))

    @cached_property
    def survival(self) -> list[dict[str, str]]:
        """The rows of survival.csv, as text; none where an earlier version did not write it."""
        path = self.path(SURVIVAL)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        return list(csv.DictReader(io.StringIO(text, newline="")))


def try_place(output_dir: Path, scenario: str, method: str, *, force: bool = False) -> None:
    """Raise ConfigError where no run of a scenario and method could be recorded. Where some are, and none is
    forced, the one that is asked for may be there to be read: `open_run` then tries.
    """
    place = Path(output_dir) / "runs" / scenario / method
    if force or not any(place.glob(f"*/{DONE}")):
        require_writable(place, "output_dir")


@contextmanager
def open_run(
    output_dir: Path, scenario: str, method: str, run_id: str, *, force: bool = False
) -> Iterator[Run]:
    """Give the complete run of this id, or a fresh one to write; with `force` always a fresh one.

    Jobs that want the same id wait for one another: the later one gets what the earlier one finished. A fresh
    run that is not finished when the block ends leaves nothing behind.
    """
    folder = Path(output_dir) / "runs" / scenario / method / run_id
    if not force and is_complete(folder):
        yield Run(folder)
        return
    require_writable(folder.parent, "output_dir")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _lock(folder):
        if not force and is_complete(folder):
            yield Run(folder)
            return
        sweep_partials(folder.parent, held=run_id)
        partial = folder.with_name(f"{run_id}.partial-{os.getpid()}")
        partial.mkdir()
        try:
            yield Run(folder, partial=partial)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    lock = FileLock(_lock_path(folder.parent, folder.name))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("waiting for another job that computes run %s", folder.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock_path(parent: Path, run_id: str) -> str:
    return str(parent / f".{run_id}.lock")


def sweep_partials(parent: Path, held: str) -> None:
    """Remove the partial folders of dead jobs: those of run `held`, whose lock is ours, and those nobody has
    the lock of.
    """
    for leftover in sorted(parent.glob("*.partial-*")):
        run_id = leftover.name.split(".")[0]
        if run_id == held:
            shutil.rmtree(leftover)
            continue
        lock = FileLock(_lock_path(parent, run_id))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(leftover, ignore_errors=True)
        lock.release()


def is_complete(folder: Path) -> bool:
    """Tell whether DONE exists and the files it vouches for are there, the small ones byte for byte."""
    try:
        voucher = json.loads((folder / DONE).read_bytes())
        sums = dict(voucher["sha256"])
        if voucher["run_id"] != folder.name or not set(VOUCHED) <= set(sums):
            return False
        return all((folder / name).is_file() for name in sums) and all(
            _sha256(folder / n) == sums[n] for n in VOUCHED
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _voucher(folder: Path, run_id: str) -> str:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != DONE)
    return (
        json.dumps(
            {"run_id": run_id, "sha256": {p.relative_to(folder).as_posix(): _sha256(p) for p in files}},
            indent=2,
        )
        + "\n"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a kill, sees either the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(new: Path, place: Path) -> None:
    """Move a folder to where another one may stand, which is removed."""
    old = place.with_name(f"{place.name}.partial-{os.getpid()}-old")
    if place.exists():
        place.rename(old)
    new.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def complete_runs(output_dir: Path) -> list[Run]:
    """Return every complete run under `output_dir`, in path order."""
    folders = sorted(p.parent for p in (Path(output_dir) / "runs").glob(f"*/*/*/{DONE}"))
    return [Run(f) for f in folders if RUN_ID.fullmatch(f.name) and is_complete(f)]


def find_run(output_dir: Path, name: str) -> Run:
    """Return the run called `name`: a folder, the beginning of a run id, or `latest`.

    Raises UserError when there is no such run, when it is not complete, or when the beginning fits several.
    """
    if (folder := Path(name)).is_dir():
        if not is_complete(folder.resolve()):
            raise UserError(
                f"'{name}' holds no complete run",
                fix="give a run folder with a DONE file that fits, or run it again",
            )
        return Run(folder.resolve())
    runs = complete_runs(output_dir)
    if not runs:
        raise UserError(
            f"no complete run is recorded under '{output_dir}'",
            fix="run razor-run first, or give --output-dir",
        )
    if name == "latest":
        return max(runs, key=lambda r: (r.record.provenance.finished, r.run_id))
    fitting = [r for r in runs if r.run_id.startswith(name.lower())]
    if len(fitting) == 1:
        return fitting[0]
    known = ", ".join(r.run_id for r in (fitting or runs)[:12])
    problem = "fits several runs" if fitting else f"is the beginning of no run id under '{output_dir}'"
    raise UserError(
        f"'{name}' {problem}", found=known, fix="give a longer beginning, the run's folder, or latest"
    )
