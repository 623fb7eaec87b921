"""All complete runs as three read-only SQL views: scores, runs, edit_log."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from razor_cli.errors import UserError
from razor_cli.escape import in_csv, in_json, in_markdown
from razor_cli.runs.folder import EDIT_LOG, SCORES, Run, complete_runs
from razor_cli.runs.records import RunRecord
from razor_cli.runs.rows import EVENT_COLUMNS, SCORE_COLUMNS
from razor_cli.runs.sql import ask

NUMBERS = {"value", "n", "ci_low", "ci_high", "seed", "step"}
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


def answer(
    output_dir: Path, sql: str, tell: Callable[[str], None] = lambda _: None
) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return the column names and rows of one select; `tell` is given a note on each run that is left out.

    Raises UserError for anything but one reading statement, for SQL that does not parse or run, and where no
    run is recorded.
    """
    runs = complete_runs(output_dir, tell, rows=True)
    if not runs:
        raise UserError(
            f"no complete run is recorded under '{output_dir}'",
            fix="run razor-run first, or give --output-dir",
        )
    return ask({"scores": scores_frame(runs), "runs": runs_frame(runs), "edit_log": log_frame(runs)}, sql)


def scores_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return every row of every scores.csv."""
    texts = {c: str for c in SCORE_COLUMNS if c not in NUMBERS}
    empty = {
        c: [""] for c in NUMBERS
    }  # only in numbers is an empty cell a missing one; a target may be called "None"
    files: dict[str, list[str]] = {}
    for run in runs:  # those with the same columns are read as one
        head, _, body = run.read(SCORES).partition("\n")
        files.setdefault(head, []).append(body)
    parts = [
        pd.read_csv(
            io.StringIO("\n".join([head, "".join(bodies)])),
            dtype=texts,
            keep_default_na=False,
            na_values=empty,
        )
        for head, bodies in files.items()
    ]
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
                "settings": in_json(r.settings),
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
    text = [v if v is None or isinstance(v, str) else in_json(v) for v in values]
    return pd.Series(text, dtype=object)


def log_frame(runs: Sequence[Run]) -> pd.DataFrame:
    """Return every step of every edit; metrics before and after stand in columns before_<metric> and
    after_<metric>.
    """
    texts = {c: str for c in ("run_id", "action", "component", "kind", "tower", "note")}
    parts = [pd.read_csv(io.StringIO(r.read(EDIT_LOG)), dtype=texts) for r in runs]
    kept = [p for p in parts if len(p)]
    return (
        pd.concat(kept, ignore_index=True)
        if kept
        else pd.DataFrame({c: pd.Series(dtype=str) for c in EVENT_COLUMNS})
    )


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
