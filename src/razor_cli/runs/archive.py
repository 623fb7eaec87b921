"""All complete runs as three read-only SQL views: scores, runs, edit_log."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd

from razor_cli.errors import UserError, nearest
from razor_cli.runs.folder import EDIT_LOG, SCORES, Run, complete_runs
from razor_cli.runs.records import RunRecord
from razor_cli.runs.rows import EVENT_COLUMNS, SCORE_COLUMNS

NUMBERS = {"value", "n", "ci_low", "ci_high", "seed", "step"}
VIEWS = ("scores", "runs", "edit_log")
READING = ("SELECT", "EXPLAIN")
RUN_COLUMNS = (
    "run_id",
    "model",
    "stand_in",
    "scenario",
    "data",
    "target",
    "method",
    "seed",
    "verdict",
    "components",
    "edit_seconds",
    "run_seconds",
    "peak_rss_mb",
    "patch_bytes",
    "forwards",
    "backwards",
    "evaluations",
    "weights_hash",
    "code_version",
    "started",
    "finished",
    "settings",
    "format",
    "folder",
)


def answer(output_dir: Path, sql: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the column names and rows of one select.

    Raises UserError for anything but one reading statement, for SQL that does not parse or run, and where no
    run is recorded.
    """
    runs = complete_runs(output_dir)
    if not runs:
        raise UserError(
            f"no complete run is recorded under '{output_dir}'",
            fix="run razor-run first, or give --output-dir",
        )
    with duckdb.connect(":memory:") as connection:
        frames = {"scores": scores_frame(runs), "runs": runs_frame(runs), "edit_log": log_frame(runs)}
        for name, frame in frames.items():
            connection.register(f"{name}_frame", frame)
            connection.execute(f"create table {name} as select * from {name}_frame")
            connection.unregister(f"{name}_frame")
        connection.execute("set enable_external_access = false")  # no files, no network, no extensions
        connection.execute("set lock_configuration = true")
        try:
            _only_reads(connection, sql)
            result = connection.execute(sql)
            return [d[0] for d in result.description or []], result.fetchall()
        except duckdb.Error as error:
            raise _refused(error, frames) from error


def _only_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    kinds = [str(s.type).rsplit(".", maxsplit=1)[-1] for s in statements]
    if len(kinds) != 1 or kinds[0] not in READING:
        raise UserError(
            "razor query answers one reading statement",
            allowed="select, with, describe",
            found=", ".join(kinds) or "nothing",
        )


def _refused(error: duckdb.Error, frames: dict[str, pd.DataFrame]) -> UserError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    names = [*VIEWS, *(c for f in frames.values() for c in f.columns)]
    asked = re.search(r'column "([^"]+)"|name ([^ !]+)', lines[0])
    near = nearest(asked[1] or asked[2], names, 1) if asked else []
    columns = "; ".join(f"{name}({', '.join(map(str, frame.columns))})" for name, frame in frames.items())
    return UserError(
        f"the query cannot be answered: {lines[0]}",
        allowed=columns,
        fix=f"did you mean {near[0]}?" if near else None,
    )


def scores_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return every row of every scores.csv."""
    texts = {c: str for c in SCORE_COLUMNS if c not in NUMBERS}
    empty = {
        c: [""] for c in NUMBERS
    }  # only in numbers is an empty cell a missing one; a target may be called "None"
    parts = [pd.read_csv(r.path(SCORES), dtype=texts, keep_default_na=False, na_values=empty) for r in runs]
    frame = pd.concat(parts, ignore_index=True)
    frame["stand_in"] = frame["stand_in"] == "true"
    frame = frame.reindex(columns=list(SCORE_COLUMNS))  # files of format 1 lack the last ones
    frame["attack"], frame["step"] = frame["attack"].fillna(""), frame["step"].astype("Int64")
    return frame


def runs_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return one row per run, with a column for every key that a command line or grid set in one of them."""
    rows = []
    for run in runs:
        r = run.record
        rows.append(
            {
                **r.model_dump(
                    include={"run_id", "model", "stand_in", "scenario", "data", "target", "method", "seed"}
                ),
                "verdict": r.verdict.decision.value if r.verdict else None,
                "components": ", ".join(c.name for c in r.components),
                "edit_seconds": r.cost.seconds,
                **r.cost.model_dump(
                    include={
                        "run_seconds",
                        "peak_rss_mb",
                        "patch_bytes",
                        "forwards",
                        "backwards",
                        "evaluations",
                    }
                ),
                **r.provenance.model_dump(include={"weights_hash", "code_version", "started", "finished"}),
                "settings": json.dumps(r.settings, ensure_ascii=False, default=str),
                "format": r.format,
                "folder": str(run.folder),
            }
        )
    frame = pd.DataFrame(rows, columns=list(RUN_COLUMNS))
    for key in sorted({k for run in runs for k in run.record.overrides} - set(RUN_COLUMNS)):
        frame[key] = _column([_setting(run.record, key) for run in runs])
    return frame


def _setting(record: RunRecord, key: str) -> object:
    """Return what a run's settings say of a key, whether or not it was set for this run; of a group, which
    option was chosen.
    """
    found: object = record.settings
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return record.overrides.get(key) if found is None or isinstance(found, Mapping) else found


def _column(values: Sequence[object]) -> pd.Series[Any]:
    """Return values as a column of one type: numbers, truth values, or else text."""
    there = [v for v in values if v is not None]
    if all(isinstance(v, bool) for v in there):
        return pd.Series(values, dtype="boolean")
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in there):
        return pd.Series(values, dtype="Int64" if all(isinstance(v, int) for v in there) else "Float64")
    text = [v if v is None or isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values]
    return pd.Series(text, dtype=object)


def log_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return every step of every edit; metrics before and after stand in columns before_<metric> and
    after_<metric>.
    """
    texts = {c: str for c in ("run_id", "action", "component", "kind", "tower", "note")}
    parts = [pd.read_csv(r.path(EDIT_LOG), dtype=texts) for r in runs]
    kept = [p for p in parts if len(p)]
    return (
        pd.concat(kept, ignore_index=True)
        if kept
        else pd.DataFrame({c: pd.Series(dtype=str) for c in EVENT_COLUMNS})
    )


def render(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: str) -> str:
    """Return rows as csv, json (a list of objects) or a Markdown table, ending in a newline."""
    if form == "json":
        return (
            json.dumps(
                [dict(zip(columns, r, strict=True)) for r in rows], ensure_ascii=False, default=str, indent=1
            )
            + "\n"
        )
    if form == "markdown":
        lines = [columns, ["---"] * len(columns), *rows]
        return "".join(
            "| " + " | ".join("" if v is None else str(v).replace("|", "\\|") for v in line) + " |\n"
            for line in lines
        )
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue()
