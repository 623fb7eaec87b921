"""All complete runs as three read-only SQL views: scores, runs, edit_log."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from razor_cli.escape import in_csv, in_json, in_markdown, on_screen
from razor_cli.runs import typed
from razor_cli.runs.folder import Run
from razor_cli.runs.index import HIDDEN, Indexed
from razor_cli.runs.indexing import quoted
from razor_cli.runs.known import Known, known_runs, no_runs
from razor_cli.runs.sql import ask


def answer(
    output_dir: Path, sql: str, tell: Callable[[str], None] = lambda _: None, *, check: bool = False
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the column names and rows of one select; `tell` is given a note on each run that is left out.
    What the index knows is not read again, unless `check` has every byte held against `DONE`.

    Raises UserError for anything but one reading statement, for SQL that does not parse or run, and where no
    run is recorded.
    """
    with known_runs(output_dir, tell, rows=True, check=check) as known:
        if not known.runs:
            raise no_runs(output_dir)
        return ask(_tables(known), sql, known.index.connection if known.index else None)


def _tables(known: Known) -> dict[str, Any]:
    """Return the three tables, and what two of them are made of where the index holds a part."""
    fresh = [run for run in known.runs if isinstance(run, typed.Typed)]
    columns = dict.fromkeys(typed.SCORE_TYPES), dict.fromkeys(typed.log_columns(list(map(_log, known.runs))))
    log_types = {name: typed.log_type(name) for name in columns[1]}
    parts = {
        "scores": typed.together([r.score_table for r in fresh], typed.SCORE_TYPES),
        "edit_log": typed.together([r.log_table for r in fresh], log_types),
    }
    tables: dict[str, Any] = {"runs": _runs(known)}
    if known.index is None:
        return tables | parts
    live = [run.place for run in known.indexed]
    tables[f"{HIDDEN}_live"] = typed.table_of([{"place": p} for p in live], {"place": pa.int32()})
    held = known.index.log_columns
    whole = not fresh and len(live) == len(known.index.entries)
    for (name, part), wanted in zip(parts.items(), columns, strict=True):
        shown = ", ".join(map(quoted, wanted))
        own = shown if name == "scores" else ", ".join(quoted(c) for c in wanted if c in held)
        sql = f"select {own} from {HIDDEN}.{name}"
        if not whole:
            tables[f"{HIDDEN}_{name}"] = part
            sql += f" where place in (select place from {HIDDEN}_live) union all by name from {HIDDEN}_{name}"
        tables[name] = f"select {shown} from ({sql})"
    return tables


def _log(run: Run) -> Sequence[str]:
    """Return the columns of a run's log."""
    if isinstance(run, Indexed):
        return run.log_columns
    assert isinstance(run, typed.Typed)
    return run.log_table.column_names


def _runs(known: Known) -> pa.Table:
    """Return one row per run, with a column for every key that a command line or grid set in one of them."""
    said: dict[int, tuple[Any, ...]] = {}
    if known.index is not None:
        names = ", ".join(typed.RUN_TYPES)
        found = known.index.connection.execute(f"select place, overrides, {names} from {HIDDEN}.runs")
        said = {place: tuple(rest) for place, *rest in found.fetchall()}
    rows, overrides = [], []
    for run in known.runs:
        if isinstance(run, Indexed):
            own, *rest = said[run.place]
            rows.append(dict(zip(typed.RUN_TYPES, rest, strict=True)))
            overrides.append(json.loads(own))
        else:
            rows.append(typed.run_row(run.record))
            overrides.append(run.record.overrides)
    keys = typed.set_keys(overrides, [row["settings"] for row in rows])
    for i, (row, run) in enumerate(zip(rows, known.runs, strict=True)):
        row |= {"folder": on_screen(str(run.folder)), **{key: own[i] for key, (_, own) in keys.items()}}
    kinds = {key: kind for key, (kind, _) in keys.items()}
    return typed.table_of(rows, typed.RUN_TYPES | {"folder": typed.TEXT} | kinds)


def render(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: str) -> str:
    """Return rows as csv, json (a list of objects) or a Markdown table, ending in a newline. Text that comes
    from data is escaped for the form.
    """
    if form == "json":
        return in_json([dict(zip(_apart(columns), row, strict=True)) for row in rows], indent=1) + "\n"
    if form == "markdown":
        cells = [["" if v is None else in_markdown(str(v)) for v in line] for line in (columns, *rows)]
        lines = [cells[0], ["---"] * len(columns), *cells[1:]]
        return "".join("| " + " | ".join(line) + " |\n" for line in lines)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([in_csv(v) for v in line] for line in (columns, *rows))
    return out.getvalue()


def _apart(columns: Sequence[str]) -> list[str]:
    """Return names of which no two are equal: an object holds each only once."""
    names: list[str] = []
    for column in columns:
        number = sum(n == column or n.startswith(f"{column}_") for n in names) if column in names else 0
        names.append(f"{column}_{number}" if number else column)
    return names
