"""The index: what recorded runs hold, in one file beside them, so that thousands are asked without opening
each.

    <output_dir>/runs/.index-<hash of its bytes>.duckdb

It is made from the run folders alone. A run's part counts as long as every file of its folder has the name,
size and times of change that it had when its bytes were held against `DONE`. A file that is damaged, or was
made by other code, is none; each is written beside its place and moved there whole, so readers and writers
need no lock.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.caches import cache_dir
from razor_cli.metrics.score import Score
from razor_cli.runs.folder import DONE, Run
from razor_cli.runs.reading import parse_record, parse_rows
from razor_cli.runs.records import RunRecord
from razor_cli.runs.rows import ScoreRow

if TYPE_CHECKING:
    import duckdb

FILES = ".index-*.duckdb"  # the star is the beginning of its SHA-256: what is damaged has another
HIDDEN = "razor_index"  # what the database calls it; no query may
BLOCK = 64  # runs whose scores are read at once
MADE_BY = ("index", "indexing", "typed", "rows", "records", "reading", "folder", "voucher")  # sources
READ = (
    "state, quantization, metric, variant, value, n, ci_low, ci_high, unit, direction, reason, attack, step"
)


@dataclass(frozen=True)
class Stamp:
    """What a run folder looks like from outside: a hash of its files' names, sizes and times, and the last
    of these times in ns.
    """

    text: str
    changed: int


def stamp(folder: Path) -> Stamp | None:
    """Return a run folder's stamp; None for one that is no whole run, or cannot be looked at."""
    try:
        files = sorted(_files(folder, ""))
        text = json.dumps(files)
    except (OSError, ValueError):
        return None
    if not any(name == DONE for name, *_ in files):
        return None
    changed = max(max(times) for _, _, *times in files)
    return Stamp(hashlib.blake2b(text.encode(), digest_size=16).hexdigest(), changed)


def _files(folder: Path, before: str) -> Iterator[tuple[str, int, int, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                yield from _files(Path(entry.path), f"{before}{entry.name}/")
            else:
                found = entry.stat()
                yield before + entry.name, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def places(output_dir: Path) -> list[Path]:
    """Return the folders where the index of a results folder may lie: beside the runs, or where these cannot
    be written to, first in the user's cache folder.
    """
    runs = output_dir / "runs"
    if os.access(runs, os.W_OK):
        return [runs]
    return [cache_dir() / "indexes" / hashlib.sha256(os.fsencode(runs.resolve())).hexdigest()[:32], runs]


@dataclass(frozen=True)
class Entry:
    """What the index says of a run folder: its number there, its stamp, and when the run ended."""

    place: int
    stamp: str
    finished: str
    log_columns: tuple[str, ...]


@dataclass
class Index:
    """An index that is open for reading; `connection` is a database in memory with the file attached."""

    connection: duckdb.DuckDBPyConnection
    entries: dict[str, Entry]  # by the run's folder, as it is called below runs/
    path: Path
    wanted: Callable[[str, str], bool] | None = None  # of scores, by metric and variant; None: all
    _rows: dict[tuple[int, bool], dict[int, list[ScoreRow]]] = field(default_factory=dict)

    @cached_property
    def log_columns(self) -> frozenset[str]:
        """The columns of all its edit logs together, those of runs that are gone included."""
        found = self.connection.execute(f"select * from {HIDDEN}.edit_log limit 0").description or []
        return frozenset(name for name, *_ in found)

    @cached_property
    def texts(self) -> dict[int, tuple[str, str]]:
        """run.json and survival.csv of every run, by its number."""
        found = self.connection.execute(f"select place, record, survival from {HIDDEN}.runs").fetchall()
        return {place: (record, survival) for place, record, survival in found}

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """Metric and variant of the scores that are wanted."""
        sql = f"select distinct metric, variant from {HIDDEN}.scores"
        return [pair for pair in self.connection.execute(sql).fetchall() if self._is_wanted(*pair)]

    def _is_wanted(self, metric: str, variant: str) -> bool:
        return self.wanted is None or self.wanted(metric, variant)

    def rows(self, place: int, *, every: bool = False) -> list[ScoreRow]:
        """Return a run's scores in file order: those wanted of states as they are, or `every` one."""
        key = (place // BLOCK, every)
        if key not in self._rows:
            self._rows[key] = self._block(*key)
        return self._rows[key].get(place, [])

    def _block(self, number: int, every: bool) -> dict[int, list[ScoreRow]]:
        sql = f"select place, {READ} from {HIDDEN}.scores where place >= ? and place < ?"
        values: list[Any] = [number * BLOCK, (number + 1) * BLOCK]
        if not every:
            sql += " and attack = ''"
            if self.wanted is not None:
                sql += " and {'m': metric, 'v': variant} in (select unnest(?))"
                values.append([{"m": m, "v": v} for m, v in self.pairs])
        found = self.connection.execute(f"{sql} order by place, line", values).fetchall()
        return {place: [_row(r) for r in own] for place, own in groupby(found, key=itemgetter(0))}

    def close(self) -> None:
        """Let the file go."""
        self.connection.close()


def _row(cells: Sequence[Any]) -> ScoreRow:
    """Return a row of what READ names, after the run's number."""
    _, state, quantization, metric, variant, value, n, ci_low, ci_high, unit, *rest = cells
    direction, reason, attack, step = rest
    score = Score(
        metric=metric,
        variant=variant,
        value=value,
        n=n,
        ci_low=ci_low,
        ci_high=ci_high,
        unit=unit,
        direction=direction,
        reason=reason,
    )
    return ScoreRow(state=state, quantization=quantization, attack=attack, step=step, score=score)


class Indexed(Run):
    """A run as the index holds it: record, scores and survival; other files are read where they lie."""

    def __init__(self, folder: Path, index: Index, entry: Entry) -> None:
        super().__init__(folder)
        self._index, self._entry = index, entry

    @property
    def finished(self) -> str:
        """When it ended, as its record says."""
        return self._entry.finished

    @property
    def place(self) -> int:
        """Its number in the index."""
        return self._entry.place

    @property
    def log_columns(self) -> tuple[str, ...]:
        """The columns of its edit_log.csv."""
        return self._entry.log_columns

    @cached_property
    def record(self) -> RunRecord:
        """run.json as recorded."""
        return parse_record(self._index.texts[self._entry.place][0])

    @cached_property
    def scores(self) -> list[ScoreRow]:
        """The rows of scores.csv on states as they are, those that the index was asked for, in file order."""
        return self._index.rows(self._entry.place)

    @cached_property
    def measured(self) -> list[ScoreRow]:
        """All rows of scores.csv, those of attacks included."""
        return self._index.rows(self._entry.place, every=True)

    @cached_property
    def survival(self) -> list[dict[str, str]]:
        """The rows of survival.csv, as text."""
        return parse_rows(self._index.texts[self._entry.place][1])


def opened(folder: Path) -> Index | None:
    """Return the index that lies in a folder, or None where there is none that this code made, and whole."""
    for _ in range(2):  # another process may put its own in the place of one that was just found
        if (found := next(filter(None, map(_opened, found_in(folder))), None)) is not None:
            return found
    return None


def found_in(folder: Path) -> list[Path]:
    """Return the files of a folder that are called like an index, the last one first."""
    with suppress(OSError):
        return sorted(folder.glob(FILES), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    return []  # another process put its own in its place


def name_of(path: Path) -> str:
    """Return what an index is called."""
    with path.open("rb") as file:
        return FILES.replace("*", hashlib.file_digest(file, "sha256").hexdigest()[:32])


def _opened(path: Path) -> Index | None:
    import duckdb

    connection = duckdb.connect(":memory:")
    try:
        if name_of(path) == path.name:
            attach(connection, path, "(read_only)")
            if is_ours(connection):
                return Index(connection, _entries(connection), path)
    except (OSError, duckdb.Error):  # gone meanwhile, or of another version of the database
        pass
    connection.close()
    return None


def attach(connection: duckdb.DuckDBPyConnection, path: Path, how: str = "") -> None:
    """Make the tables of an index's file known to a database, under the name that no query may use."""
    quoted = str(path).replace("'", "''")
    connection.execute(f"attach '{quoted}' as {HIDDEN} {how}")


def _entries(connection: duckdb.DuckDBPyConnection) -> dict[str, Entry]:
    sql = f"select folder, place, stamp, finished, log_columns from {HIDDEN}.runs"
    found = connection.execute(sql).fetchall()
    return {f: Entry(place, text, end, tuple(json.loads(columns))) for f, place, text, end, columns in found}


def is_ours(connection: duckdb.DuckDBPyConnection) -> bool:
    """Tell whether what is attached was made by this code."""
    return connection.execute(f"select form from {HIDDEN}.about").fetchall() == [(form(),)]


def form() -> str:
    """Return a hash of the code that makes an index, and of the database's version."""
    import duckdb

    digest = hashlib.sha256(duckdb.__version__.encode())
    for name in MADE_BY:
        digest.update(Path(__file__).with_name(f"{name}.py").read_bytes())
    return digest.hexdigest()
