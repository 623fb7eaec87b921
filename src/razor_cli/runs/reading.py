"""What a run folder's files hold, read back: whatever cannot be is said with the run and the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from razor_cli.errors import UserError, headline
from razor_cli.runs.records import FORMAT, RunRecord
from razor_cli.runs.voucher import AGAIN

S = TypeVar("S")
T = TypeVar("T")


def parsed(parse: Callable[[S], T], content: S, folder: Path, name: str) -> T:
    """Return what `parse` makes of a file's content. Raises UserError where it cannot."""
    try:
        return parse(content)
    except (ValueError, KeyError, TypeError, RecursionError, csv.Error) as error:
        what = f"{name} of run {folder.name} cannot be read: {headline(error)}"
        raise UserError(what, found=folder, fix=AGAIN) from error


def parse_record(text: str) -> RunRecord:
    """Return run.json as a record. Raises UserError for one of a newer version, ValueError for no record."""
    said = json.loads(text)
    written = said.get("format") if isinstance(said, dict) else None
    if isinstance(written, int) and written > FORMAT:
        raise UserError(
            f"run {said.get('run_id')} was recorded by a newer version",
            allowed=f"format {FORMAT} and earlier",
            found=f"format {written}",
            fix="read it with that version of razor-cli",
        )
    return RunRecord.model_validate_json(text)


def parse_rows(text: str) -> list[dict[str, str]]:
    """Return the rows of a CSV file as text. Raises ValueError for rows that are longer than its header."""
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    if any(None in row or None in row.values() for row in rows):
        raise ValueError("a row has other columns than the header")
    return rows
