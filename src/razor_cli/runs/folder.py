"""Run folders: opened under a lock, written beside their final place, complete only when `DONE` vouches for
them.

    <output_dir>/runs/<scenario>/<method>/<run id>/
        resolved_config.yaml  run.json  scores.csv  edit_log.csv  patch.safetensors  *.png  DONE

A run is written into `<run id>.partial-<pid>` and moved into place as its last act, so a killed run leaves
only a partial folder, which the next run under the same `output_dir` sweeps away.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import yaml  # type: ignore[import-untyped]

from razor_cli.atomic import exchanged, staged
from razor_cli.errors import RazorError, RunError
from razor_cli.runs import voucher
from razor_cli.runs.leftovers import locked, settle_caches, settle_run, sweep_partials
from razor_cli.runs.reading import parse_record, parse_rows, parsed
from razor_cli.runs.records import Identity, RunRecord
from razor_cli.runs.rows import ScoreRow, Where, events_csv, read_scores, scores_csv
from razor_cli.runs.traces import untouched_if_ended
from razor_cli.writable import require_writable

if TYPE_CHECKING:  # both need torch or stand above this module
    from razor_cli.contract.edit import Event
    from razor_cli.metrics.score import Score

log = logging.getLogger(__name__)

CONFIG, RECORD, SCORES = "resolved_config.yaml", "run.json", "scores.csv"
EDIT_LOG, DONE = "edit_log.csv", voucher.DONE
SURVIVAL, SPLIT = "survival.csv", "split.json"
VOUCHED = (RECORD, SCORES, EDIT_LOG)  # what every run has
RUN_ID = re.compile(r"[0-9a-f]{16}")


class Run:
    """One run: complete and readable, or being written. `open_run` and `known.find_run` give one."""

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
        """Write run.json and `seal`. Raises RunError where the record is another run's."""
        if self._partial is None:
            raise RunError(f"run {self.run_id} is already complete")
        if record.run_id != self.run_id:
            raise RunError(f"the record of run {record.run_id} cannot finish run {self.run_id}")
        write_atomic(self.path(RECORD), record.model_dump_json(indent=2) + "\n")
        self.seal()

    def seal(self) -> None:
        """Vouch for all files in DONE and move the folder into place. Raises RunError if one is missing."""
        assert self._partial is not None
        if missing := [name for name in VOUCHED if not self.path(name).is_file()]:
            raise RunError(f"run {self.run_id} cannot be finished without {', '.join(missing)}")
        write_atomic(self.path(DONE), voucher.voucher(self._partial, self.run_id))
        replace_folder(self._partial, self.folder)
        self._partial = None

    def read(self, name: str) -> str:
        """Return the text of a file of the run. Raises UserError where DONE does not vouch for its bytes."""
        path = self.path(name)
        content = path.read_bytes() if self._partial else voucher.read_vouched(path)
        return parsed(bytes.decode, content, self.folder, name)

    def has(self, name: str) -> bool:
        """Tell whether a file belongs to the complete run; what else lies in its folder does not."""
        return voucher.vouched_for(self.folder, name)

    @cached_property
    def record(self) -> RunRecord:
        """run.json as recorded. Raises UserError for one that this version cannot read."""
        return parsed(parse_record, self.read(RECORD), self.folder, RECORD)

    @cached_property
    def scores(self) -> list[ScoreRow]:
        """The rows of scores.csv on states as they are, in file order."""
        return [row for row in self.measured if not row.attack]

    @cached_property
    def values(self) -> dict[tuple[str, str, str, str], float | None]:
        """The values of `scores` by state, quantization, metric and variant."""
        return {
            (r.state, r.quantization, r.score.metric, r.score.variant): r.score.value
            for r in reversed(self.scores)  # of two under one name the first one counts
        }

    @cached_property
    def measured(self) -> list[ScoreRow]:
        """All rows of scores.csv, those of attacks included."""
        return parsed(read_scores, self.read(SCORES), self.folder, SCORES)

    @cached_property
    def events(self) -> list[dict[str, str]]:
        """The rows of edit_log.csv, as text."""
        return parsed(parse_rows, self.read(EDIT_LOG), self.folder, EDIT_LOG)

    @cached_property
    def survival(self) -> list[dict[str, str]]:
        """The rows of survival.csv, as text; none where an earlier version did not write it."""
        text = self.read(SURVIVAL) if self.has(SURVIVAL) else ""
        return parsed(parse_rows, text, self.folder, SURVIVAL)


def try_place(output_dir: Path, scenario: str, method: str, *, force: bool = False) -> None:
    """Raise ConfigError where no run of a scenario and method could be recorded. Where some are, and none is
    forced, the one that is asked for may be there to be read: `open_run` then tries.
    """
    place = Path(output_dir) / "runs" / scenario / method
    if force or not any(place.glob(f"*/{DONE}")):
        require_writable(place, "output_dir")


@contextmanager
def open_run(
    output_dir: Path,
    scenario: str,
    method: str,
    run_id: str,
    *,
    force: bool = False,
    say: Callable[[str], None] = log.info,
) -> Iterator[Run]:
    """Give the complete run of this id, or a fresh one to write; with `force` always a fresh one.

    Jobs that want the same id wait for one another, and `say` tells of it: the later one gets what the
    earlier one finished. A fresh run that is not finished when the block ends leaves nothing behind.
    """
    where = (output_dir, scenario, method, run_id)
    with untouched_if_ended(*where), _opened(*where, force=force, say=say) as run:
        yield run


@contextmanager
def _opened(
    output_dir: Path, scenario: str, method: str, run_id: str, *, force: bool, say: Callable[[str], None]
) -> Iterator[Run]:
    """Give the run, open; what of its place is new stays."""
    sweep(output_dir)
    folder = Path(output_dir) / "runs" / scenario / method / run_id
    if not force and is_complete(folder):
        yield Run(folder)
        return
    require_writable(folder.parent, "output_dir")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder, say):
        settle_run(folder, is_complete)  # of a process that died while we waited
        if not force and is_complete(folder):
            yield Run(folder)
            return
        partial = folder.with_name(f"{run_id}.partial-{os.getpid()}")
        try:
            partial.mkdir()
            yield Run(folder, partial=partial)
        finally:
            settle_run(folder, is_complete)  # a stop may have come just before the last move


def sweep(output_dir: Path) -> None:
    """Remove what processes that died left under `output_dir`; a run that lacked its last move gets it."""
    sweep_partials(Path(output_dir) / "runs", is_complete)
    settle_caches(Path(output_dir))


def is_complete(folder: Path, run_id: str | None = None) -> bool:
    """Tell whether a folder holds a run whose files are all there, byte for byte as DONE vouches for them.
    `run_id` is whose they are, where the folder is not called so.
    """
    return not voucher.flaw(folder, VOUCHED, whole=True, run_id=run_id)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a kill, sees either the old content or the new one."""
    with staged(path) as part:
        with part.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)


def replace_folder(new: Path, place: Path) -> None:
    """Move a folder to where another one may stand, which is removed.

    Where the system can, they change places at once, so that whoever looks meanwhile finds one or the other;
    elsewhere a kill in between loses neither.
    """
    if place.exists() and exchanged(new, place):
        shutil.rmtree(new, ignore_errors=True)
        return
    old = place.with_name(f"{place.name}.partial-{os.getpid()}-old")
    if place.exists():
        place.rename(old)
    try:
        new.rename(place)
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def _untold(_: str) -> None:
    """Say nothing."""


def complete_runs(
    output_dir: Path, tell: Callable[[str], None] = _untold, *, rows: bool = False
) -> list[Run]:
    """Return every complete run under `output_dir` that this version reads, in path order; `tell` is given a
    note on each folder that is left out: damaged, foreign, or of a newer version. With `rows` all rows are
    read as well.
    """
    found = []
    for folder in sorted(p.parent for p in (Path(output_dir) / "runs").glob(f"*/*/*/{DONE}")):
        if ".partial-" in folder.name:  # of a job that runs now, or was killed
            continue
        if why := why_unread(run := Run(folder), rows=rows):
            tell(f"left out: {folder}: {why}")
        else:
            found.append(run)
    return found


def why_unread(run: Run, *, rows: bool = False) -> str:
    """Return why a run folder cannot be read, or nothing; with `rows` it is read whole."""
    if not RUN_ID.fullmatch(run.run_id):
        return "it is not called like a run"
    if why := voucher.flaw(run.folder, VOUCHED):
        return why
    try:
        if rows:
            _ = run.scores, run.events, run.survival
        return f"its record is of run {named}" if (named := run.record.run_id) != run.run_id else ""
    except RazorError as error:
        return error.what
    except OSError as error:  # it was removed, or moved, meanwhile
        return f"it cannot be read: {error.strerror}"
