"""What is asked of parquet files before a row of them is read: how large they are, which are one data set."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from razor_cli.errors import DataError

if TYPE_CHECKING:
    from pyarrow.parquet import FileMetaData

MAX_COLUMNS = 2_000_000_000  # bytes of the columns that are read at once, unpacked
PIECE = re.compile(r"-(\d+)-of-(\d+)(?:-[0-9a-f]+)?\.parquet$")


def footer_of(file: Path, setting: str, max_rows: int, what: str) -> FileMetaData:
    """Return what a parquet file says of itself; no row is read.

    Raises DataError for one with more than `max_rows` rows, which is not `what` it should be, and OSError for
    one that is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        footer = pq.read_metadata(file)
    except pa.ArrowException as error:
        raise OSError(str(error)) from error
    if footer.num_rows > max_rows:
        raise DataError(
            f"{setting}: '{file}' is too large for {what}",
            found=f"{footer.num_rows:,} rows",
            allowed=f"at most {max_rows:,}",
        )
    return footer


def unpacked(footer: FileMetaData, group: int, column: str) -> int:
    """Return how many bytes the columns that begin with `column` take in one row group, unpacked."""
    found = footer.row_group(group)
    columns = (found.column(i) for i in range(found.num_columns))
    return sum(c.total_uncompressed_size for c in columns if c.path_in_schema.split(".")[0] == column)


def one_copy(files: Iterable[Path], root: Path, setting: str, what: str) -> list[Path]:
    """Return the files of one data set in order, each once although links may lead to it twice.

    Raises DataError if they lie in several folders: a search below a root finds every copy there is, and two
    copies would put a photograph into two sets.
    """
    places: dict[Path, list[Path]] = {}
    for file in sorted(files):
        places.setdefault(file.parent, []).append(file)
    copies: dict[frozenset[Path], list[Path]] = {}
    for found in places.values():
        copies.setdefault(frozenset(f.resolve() for f in found), found)
    if len(copies) > 1:
        folders = sorted(found[0].parent for found in copies.values())
        raise DataError(
            f"{setting}: several copies of {what} under '{root}'",
            found=", ".join(f"'{f}'" for f in folders),
            fix=f"point {setting} at one of them",
        )
    return next(iter(copies.values()), [])


def missing_pieces(files: Sequence[Path], setting: str) -> tuple[int, str]:
    """Return how many pieces (`train-00001-of-00005.parquet`) are not there though others say so, and the
    first one.

    Raises DataError for pieces of two divisions, such as 00000-of-00001 and 00000-of-00002.
    """
    numbered = {f: found for f in files if (found := PIECE.search(f.name))}
    totals = {int(found[2]) for found in numbered.values()}
    there = {int(found[1]) for found in numbered.values()}
    if len(totals) > 1 or 0 < len(numbered) < len(files) or len(there) < len(numbered):
        raise DataError(
            f"{setting}: '{files[0].parent}' holds one part of the data set in two divisions",
            found=", ".join(f.name for f in files[:6]),
            fix="leave the files of one of them there",
        )
    if not numbered:
        return 0, ""
    name, found = next((f.name, found) for f, found in numbered.items())
    lost = next((n for n in range(len(there) + 1) if n not in there), 0)
    head = name[: found.start()]
    return max(0, totals.pop() - len(there)), f"{head}-{lost:0{len(found[1])}}-of-{found[2]}.parquet"
