"""Rows of published tables: TSV and parquet files, read in one way and refused in one wording."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.data.sources.parquet import MAX_COLUMNS, footer_of, missing_pieces
from razor_cli.errors import DataError, shortened

MAX_ROWS = 2_000_000
HEADER = 65_536  # bytes of a first line at most
ENDINGS = (".tsv", ".parquet")
IMAGE = "image"  # the column of pictures, which is read apart


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row below the header; `where` names it in messages."""

    where: str
    file: Path
    number: int  # from 0
    cells: Mapping[str, object]

    def text(self, column: str) -> str:
        """Return what stands in a column. Raises DataError where nothing does."""
        found = self.optional(column)
        if not found:
            raise DataError(f"{self.where}: nothing in the column {column}", allowed="a text")
        return found

    def optional(self, column: str) -> str:
        """Return what stands in a column; empty where it is missing, null, not a number, or says `nan`."""
        value = self.cells.get(column)
        if value is None or (isinstance(value, float) and math.isnan(value)):
            return ""
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        return "" if text.lower() == "nan" else text

    def whole(self, column: str) -> int:
        """Return a whole number, 0 or above. Raises DataError for anything else."""
        text = self.text(column)
        digits = text.removesuffix(".0")
        if not (digits.isascii() and digits.isdigit()):
            allowed = "a whole number, 0 or above"
            raise DataError(f"{self.where}: no number in the column {column}", allowed=allowed, found=text)
        return int(digits)


@dataclass(frozen=True, kw_only=True)
class Rows:
    """The rows of one or more files of one layout, and what their pictures are read from."""

    files: tuple[Path, ...]
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    images: Any = None  # of a TSV file: the column of pictures as text

    def need(self, columns: Sequence[str], what: str) -> None:
        """Raise DataError unless the columns are there."""
        if absent := [c for c in columns if c not in self.columns]:
            raise DataError(
                f"'{self.files[0]}' has no column {', '.join(absent)}, so it is not {what}",
                allowed=", ".join(columns),
                found=shortened(", ".join(self.columns)),
                fix="point the setting at the file as it was published",
            )


def read_tsv(file: Path, setting: str) -> Rows:
    """Return the rows of a TSV file. Raises DataError naming what does not fit."""
    import pyarrow as pa
    from pyarrow import csv as arrow

    columns = _header(file, setting)
    size = file.stat().st_size
    if size > MAX_COLUMNS:
        raise DataError(
            f"{setting}: '{file}' is too large", found=f"{size:,} bytes", allowed=f"at most {MAX_COLUMNS:,}"
        )
    try:
        table = arrow.read_csv(
            file,
            arrow.ReadOptions(use_threads=False, block_size=size + 1),  # a row may be as long as the file
            arrow.ParseOptions(delimiter="\t", newlines_in_values=True),
            arrow.ConvertOptions(
                column_types=dict.fromkeys(columns, pa.string()), null_values=[], strings_can_be_null=False
            ),
        )
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{setting}: '{file}' is no table with tabs between its columns",
            found=shortened(str(error)),
            allowed="UTF-8 text with as many fields in each row as in the first",
        ) from error
    texts = {c: table[c].to_pylist() for c in columns if c != IMAGE}
    rows = tuple(_rows(file, setting, texts, table.num_rows))
    images = table[IMAGE] if IMAGE in columns else None
    return Rows(files=(file,), columns=columns, rows=rows, images=images)


def _header(file: Path, setting: str) -> tuple[str, ...]:
    try:
        with file.open("rb") as stream:
            line = stream.readline(HEADER).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{setting}: '{file}' cannot be read as text", found=error) from error
    columns = tuple(next(csv.reader(io.StringIO(line), delimiter="\t"), []))
    if not any(columns) or len(set(columns)) < len(columns):
        raise DataError(
            f"{setting}: '{file}' has no line of names of columns, each once, at its head",
            found=shortened(line.strip()) or "nothing",
        )
    return columns


def read_parquet(files: Sequence[Path], setting: str) -> Rows:
    """Return the rows of parquet files without their pictures. Raises DataError naming what does not fit."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Row] = []
    columns: tuple[str, ...] = ()
    for file in files:
        try:
            footer_of(file, setting, MAX_ROWS, "a question set")
            source = pq.ParquetFile(file)
            found = tuple(source.schema_arrow.names)
            table = source.read(columns=[c for c in found if c != IMAGE])
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{setting}: '{file}' cannot be read as parquet",
                found=shortened(str(error)),
                fix="fetch it again; a file of some 130 bytes is a pointer that Git LFS left there",
            ) from error
        if columns and columns != found:
            raise DataError(
                f"{setting}: '{file}' has other columns than '{files[0]}'",
                found=shortened(", ".join(found)),
                allowed=shortened(", ".join(columns)),
            )
        columns = found
        texts = {c: table[c].to_pylist() for c in table.column_names}
        rows += _rows(file, setting, texts, source.metadata.num_rows)
    return Rows(files=tuple(files), columns=columns, rows=tuple(rows))


def _rows(file: Path, setting: str, columns: Mapping[str, Sequence[object]], count: int) -> Iterator[Row]:
    for number in range(count):
        cells = {name: values[number] for name, values in columns.items()}
        where = f"{setting}: '{file}', row {number + 1}"
        yield Row(where=where, file=file, number=number, cells=cells)


def located(root: Path, setting: str, patterns: Sequence[str], what: str, allowed: str) -> list[Path]:
    """Return the file that is named, or the files of the first pattern that fits in the folder that is.

    Raises DataError where there is nothing of the kind.
    """
    if root.is_file():
        if root.suffix.lower() in ENDINGS or any(root.match(p) for p in patterns):
            return [root]
        raise DataError(f"{setting}: '{root}' is not {what}", allowed=allowed)
    if not root.is_dir():
        raise DataError(f"{setting}: there is no '{root}'", allowed=allowed, fix=f"point {setting} at {what}")
    for pattern in patterns:
        if found := sorted(p for p in root.glob(pattern) if p.is_file()):
            return found
    raise DataError(f"{setting}: nothing of {what} in '{root}'", allowed=allowed)


def read_tables(root: Path, setting: str, patterns: Sequence[str], what: str, allowed: str) -> Rows:
    """Return the rows of the TSV file or of the parquet files in a place."""
    files = located(root, setting, patterns, what, allowed)
    tsv = [f for f in files if f.suffix.lower() == ".tsv"]
    if len(tsv) > 1:
        raise DataError(
            f"{setting}: several TSV files in '{root}'",
            found=", ".join(f.name for f in tsv[:6]),
            fix=f"point {setting} at one of them",
        )
    rows = read_tsv(tsv[0], setting) if tsv else _whole(files, setting)
    if not rows.rows:
        raise DataError(f"{setting}: '{rows.files[0]}' has no rows", allowed=allowed)
    return rows


def _whole(files: Sequence[Path], setting: str) -> Rows:
    lost, first = missing_pieces(files, setting)
    if lost:
        raise DataError(
            f"{setting}: {lost} parquet files are not there though others count them",
            found=f"no '{first}'",
            fix="fetch all of them",
        )
    return read_parquet(files, setting)
