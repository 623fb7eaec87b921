"""How an index is written: beside its place, from the one that is there and the runs that are new to it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from razor_cli.atomic import staged
from razor_cli.runs import typed
from razor_cli.runs.folder import SURVIVAL
from razor_cli.runs.index import HIDDEN, Stamp, attach, form, found_in, name_of

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Fresh = Iterable[tuple[str, typed.Typed]]  # runs that were read whole, by their folders

SETTLED = 2 * 10**9  # ns: a file changed later than this before it was read may change again unseen
AT_ONCE = 100  # runs that are held in memory
PLACE, LINE = pa.field("place", pa.int32()), pa.field("line", pa.int32())
KEPT = {  # of a run beside what the view `runs` has
    "place": pa.int32(),
    **dict.fromkeys(("folder", "stamp", "record", "survival", "log_columns", "overrides"), typed.TEXT),
}
TABLES = {
    "runs": KEPT | typed.RUN_TYPES,
    "scores": {"place": PLACE.type, "line": LINE.type, **typed.SCORE_TYPES},
    "edit_log": {"place": PLACE.type, **{c: typed.log_type(c) for c in typed.log_columns([])}},
}


def settled(found: Stamp) -> bool:
    """Tell whether what changes in a folder from now on shows in another stamp."""
    return time.time_ns() - found.changed > SETTLED


def write(folder: Path, old: Path | None, stamps: Mapping[str, Stamp], fresh: Fresh) -> bool:
    """Write an index of the run folders that have these stamps: what still holds of the `old` one, and the
    `fresh` runs. Tell whether it was written: with nothing new, no room or no right to, it is not, and
    nothing depends on it.
    """
    import duckdb

    with suppress(OSError, duckdb.Error), staged(folder / "new.duckdb") as part:
        with duckdb.connect(":memory:") as connection:
            number = _taken_over(connection, old, part, stamps)
            if not (count := _fill(connection, number, stamps, fresh)):
                return False
            connection.execute(f"checkpoint {HIDDEN}")
            connection.execute(f"detach {HIDDEN}")
        before = found_in(folder)
        part.replace(goal := folder / name_of(part))
        for path in before:
            if path != goal:
                path.unlink(missing_ok=True)
        return count > 0
    return False


def _taken_over(
    connection: DuckDBPyConnection, old: Path | None, part: Path, stamps: Mapping[str, Stamp]
) -> int:
    """Attach a copy of an index, without what no longer holds, or else a new one; return the next run's
    number.
    """
    if old is not None:
        shutil.copyfile(old, part)  # whoever opened it found it whole, and nobody changes it
        attach(connection, part)
        return _cleared(connection, stamps)
    attach(connection, part)
    connection.execute(f"create table {HIDDEN}.about as select ?::varchar as form", [form()])
    for name, types in TABLES.items():
        _put(connection, f"create table {HIDDEN}.{name} as select * from fresh", typed.together([], types))
    return 0


def _cleared(connection: DuckDBPyConnection, stamps: Mapping[str, Stamp]) -> int:
    found = connection.execute(f"select place, folder, stamp from {HIDDEN}.runs").fetchall()
    gone = [p for p, folder, text in found if (s := stamps.get(folder)) is None or s.text != text]
    for name in TABLES if gone else ():
        connection.execute(f"delete from {HIDDEN}.{name} where place in (select unnest(?))", [gone])
    return max((place for place, *_ in found), default=-1) + 1


def _fill(connection: DuckDBPyConnection, number: int, stamps: Mapping[str, Stamp], fresh: Fresh) -> int:
    """Put runs into the index that is attached, and return how many there were."""
    waiting, count = iter(fresh), 0
    while batch := list(islice(waiting, AT_ONCE)):
        _insert(connection, number + count, stamps, batch)
        count += len(batch)
    return count


def _insert(
    connection: DuckDBPyConnection,
    number: int,
    stamps: Mapping[str, Stamp],
    batch: Sequence[tuple[str, typed.Typed]],
) -> None:
    rows, scores, logs = [], [], []
    for place, (folder, run) in enumerate(batch, number):
        score, log = run.score_table, run.log_table
        rows.append(
            {
                "place": place,
                "folder": folder,
                "stamp": stamps[folder].text,
                "record": run.record.model_dump_json(),
                "survival": run.read(SURVIVAL) if run.has(SURVIVAL) else "",
                "log_columns": json.dumps(log.column_names),
                "overrides": json.dumps(run.record.overrides),
                **typed.run_row(run.record),
            }
        )
        lines = pa.array(range(score.num_rows), LINE.type)
        scores.append(_at(place, score.add_column(0, LINE, lines)))
        logs.append(_at(place, log))
    of_logs = {"place": PLACE.type} | {
        c: typed.log_type(c) for c in typed.log_columns([log.column_names[1:] for log in logs])
    }
    columns = connection.execute(f"select * from {HIDDEN}.edit_log limit 0").description or []
    for name in of_logs.keys() - {c[0] for c in columns}:
        connection.execute(f"alter table {HIDDEN}.edit_log add column {quoted(name)} double")
    tables = {
        "runs": typed.table_of(rows, TABLES["runs"]),
        "scores": typed.together(scores, TABLES["scores"]),
        "edit_log": typed.together(logs, of_logs),
    }
    for name, table in tables.items():
        _put(connection, f"insert into {HIDDEN}.{name} by name select * from fresh", table)


def _at(place: int, table: pa.Table) -> pa.Table:
    return table.add_column(0, PLACE, pa.repeat(pa.scalar(place, PLACE.type), table.num_rows))


def _put(connection: DuckDBPyConnection, sql: str, table: pa.Table) -> None:
    connection.register("fresh", table)
    connection.execute(sql)
    connection.unregister("fresh")


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'
