"""What recorded runs hold as typed columns, for SQL: rows of scores, of edit logs, and of runs."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import pyarrow as pa
from pyarrow import csv
from pyarrow import json as json_lines

from razor_cli.escape import finite, in_json
from razor_cli.runs.folder import EDIT_LOG, SCORES, Run
from razor_cli.runs.reading import parsed
from razor_cli.runs.records import RunRecord
from razor_cli.runs.rows import EVENT_COLUMNS, SCORE_COLUMNS

TEXT, WHOLE, NUMBER, TRUTH = pa.string(), pa.int64(), pa.float64(), pa.bool_()
NUMBERS = {
    "value": NUMBER,
    "n": WHOLE,
    "ci_low": NUMBER,
    "ci_high": NUMBER,
    "stand_in": TRUTH,
    "seed": WHOLE,
    "step": WHOLE,
}
SCORE_TYPES = {name: NUMBERS.get(name, TEXT) for name in SCORE_COLUMNS}
LOG_TEXTS = ("run_id", "action", "component", "kind", "tower", "note")
COST = ("run_seconds", "peak_rss_mb", "patch_bytes", "forwards", "backwards", "evaluations")
ORIGIN = ("weights_hash", "code_version", "started", "finished")
RUN_TYPES = {  # the view `runs` but for the folder, which is that of today, and the keys of sweeps
    **dict.fromkeys(("run_id", "model"), TEXT),
    "stand_in": TRUTH,
    **dict.fromkeys(("scenario", "data", "target", "method"), TEXT),
    "seed": WHOLE,
    **dict.fromkeys(("verdict", "components"), TEXT),
    **dict.fromkeys(("edit_seconds", "run_seconds", "peak_rss_mb"), NUMBER),
    **dict.fromkeys(("patch_bytes", "forwards", "backwards", "evaluations"), WHOLE),
    **dict.fromkeys((*ORIGIN, "settings"), TEXT),
    "format": WHOLE,
}


def log_type(column: str) -> pa.DataType:
    """Return the type of a column of edit_log.csv: metrics before and after a step are numbers."""
    return TEXT if column in LOG_TEXTS else WHOLE if column == "step" else NUMBER


class Typed(Run):
    """A run whose rows can be had as columns of their types, which are kept once they were read."""

    @cached_property
    def score_table(self) -> pa.Table:
        """The rows of scores.csv with all columns of this version. Raises UserError for a cell that is not
        of its column's type.
        """
        return parsed(_scores, self.read(SCORES), self.folder, SCORES)

    @cached_property
    def log_table(self) -> pa.Table:
        """The rows of edit_log.csv with the columns that it has; an empty cell is null. Raises UserError for
        a cell that is not of its column's type.
        """
        return parsed(_log, self.read(EDIT_LOG), self.folder, EDIT_LOG)


def _scores(text: str) -> pa.Table:
    # only in numbers is an empty cell a missing one; a target may be called "None"
    table = _read(text, lambda c: SCORE_TYPES.get(c, TEXT), empty_texts=True)
    rows = table.num_rows
    for name in SCORE_COLUMNS[table.num_columns :]:  # files of format 1 lack the last ones
        missing = pa.array([""] * rows, TEXT) if SCORE_TYPES[name] is TEXT else pa.nulls(rows, WHOLE)
        table = table.append_column(name, missing)
    return table


def _log(text: str) -> pa.Table:
    return _read(text, log_type, empty_texts=False)


def _read(text: str, kind: Callable[[str], pa.DataType], *, empty_texts: bool) -> pa.Table:
    columns = next(iter(text.splitlines()), "").split(",")
    return csv.read_csv(
        io.BytesIO(text.encode()),
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types={c: kind(c) for c in columns},
            null_values=[""],
            true_values=["true"],
            false_values=["false"],
            strings_can_be_null=not empty_texts,
        ),
    )


def log_columns(heads: Sequence[Sequence[str]]) -> list[str]:
    """Return the columns of several logs together: the common ones, then metrics as they first come."""
    return list(dict.fromkeys((*EVENT_COLUMNS, *(column for head in heads for column in head))))


def together(tables: Sequence[pa.Table], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Return tables one below the other, with these columns; what one of them lacks is null."""
    return pa.concat_tables([_with(table, columns) for table in tables] or [_empty(columns)])


def _with(table: pa.Table, columns: Mapping[str, pa.DataType]) -> pa.Table:
    rows, own = table.num_rows, set(table.column_names)
    found = [table[name] if name in own else pa.nulls(rows, kind) for name, kind in columns.items()]
    return pa.Table.from_arrays(found, names=list(columns))


def _empty(columns: Mapping[str, pa.DataType]) -> pa.Table:
    return pa.Table.from_arrays([pa.nulls(0, kind) for kind in columns.values()], names=list(columns))


def table_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """Return rows as a table with these columns. It goes by JSON, because Arrow's own way from Python's
    values imports pandas, which takes longer than all else that a query does.
    """
    if not rows:
        return _empty(columns)
    text = "\n".join(json.dumps({name: row[name] for name in columns}, ensure_ascii=False) for row in rows)
    data = text.encode(errors="replace")
    table = json_lines.read_json(
        io.BytesIO(data),
        read_options=json_lines.ReadOptions(use_threads=False, block_size=len(data) + 1),
        parse_options=json_lines.ParseOptions(explicit_schema=pa.schema(list(columns.items()))),
    )
    return table.select(list(columns))


def run_row(record: RunRecord) -> dict[str, Any]:
    """Return what the view `runs` says of a run but for its folder and the keys of sweeps."""
    identity = {"run_id", "model", "stand_in", "scenario", "data", "target", "method", "seed"}
    return {
        **record.model_dump(include=identity),
        "verdict": record.verdict.decision.value if record.verdict else None,
        "components": ", ".join(c.name for c in record.components),
        "edit_seconds": record.cost.seconds,
        **record.cost.model_dump(include=set(COST)),
        **record.provenance.model_dump(include=set(ORIGIN)),
        "settings": in_json(record.settings),
        "format": record.format,
    }


def set_keys(
    overrides: Sequence[Mapping[str, Any]], settings: Sequence[str]
) -> dict[str, tuple[pa.DataType, list[Any]]]:
    """Return type and values of a column for every key that a command line or grid set in one of the runs.

    `overrides` is what each of them set, `settings` all its settings as JSON.
    """
    keys = sorted({key for own in overrides for key in own} - {*RUN_TYPES, "folder"})
    plain = [json.loads(text) for text in settings] if keys else []
    return {k: _column([_setting(*pair, k) for pair in zip(plain, overrides, strict=True)]) for k in keys}


def _setting(settings: Mapping[str, Any], overrides: Mapping[str, Any], key: str) -> object:
    """Return what a run's settings say of a key, whether or not it was set for this run; of a group, which
    option was chosen.
    """
    found: object = settings
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return overrides.get(key) if found is None or isinstance(found, Mapping) else found


def _column(values: Sequence[Any]) -> tuple[pa.DataType, list[Any]]:
    """Return values as those of a column of one type: numbers, truth values, or else text."""
    there = [v for v in values if v is not None]
    if all(isinstance(v, bool) for v in there):
        return TRUTH, list(values)
    if all(isinstance(v, int | float) and not isinstance(v, bool) for v in there):
        if all(isinstance(v, int) and abs(v) < 2**63 for v in there):
            return WHOLE, list(values)
        return NUMBER, [v if v is None else finite(float(v)) for v in values]
    return TEXT, [v if v is None or isinstance(v, str) else in_json(v) for v in values]
