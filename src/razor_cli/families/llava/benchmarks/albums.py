"""Where pictures of published question sets lie: in a folder, in a TSV file as base64, in parquet files."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from razor_cli.data.sources.parquet import MAX_COLUMNS, unpacked
from razor_cli.data.sources.pixels import bytes_of, decode, examine
from razor_cli.errors import DataError
from razor_cli.families.llava.benchmarks.items import Album
from razor_cli.families.llava.benchmarks.tables import IMAGE, Row, Rows

SHORT_SIDE = 1344  # pixels: as long as any side that tiles are cut from, so a picture is cut as it would be
REFERENCE = 64  # characters at most of a picture that stands for that of another row
ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".JPG", ".JPEG", ".PNG")


def picture(data: bytes, where: str) -> Image.Image:
    """Return a picture as RGB. Raises DataError, which begins with `where`, for bytes that are none."""
    try:
        return decode(data, SHORT_SIDE)
    except Exception as error:  # damaged bytes lead a decoder to any exception there is
        raise DataError(
            f"{where}: the picture cannot be used",
            found=examine(data).flaw or error,
            allowed="JPEG, PNG or WebP",
            fix="fetch the file again",
        ) from error


@dataclass(frozen=True)
class PictureFiles:
    """Pictures in files."""

    paths: Mapping[str, Path]
    setting: str

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures in order."""
        return [picture(bytes_of(self.paths[k]), f"{self.setting}: '{self.paths[k]}'") for k in keys]


def file_of(folder: Path, stem: str, where: str) -> Path:
    """Return the picture file of a name, with or without its ending. Raises DataError where there is none."""
    candidates = [folder / stem, *(folder / f"{stem}{e}" for e in ENDINGS)]
    for path in candidates:
        if path.suffix in ENDINGS and path.is_file() and path.resolve().is_relative_to(folder.resolve()):
            return path
    raise DataError(
        f"{where}: no picture '{stem}' in '{folder}'",
        allowed=", ".join(ENDINGS[:4]),
        fix="put the published pictures there",
    )


@dataclass(frozen=True)
class Encoded:
    """Pictures in the column of a TSV file, as base64."""

    column: Any  # arrow's column of texts
    rows: Mapping[str, Row]

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures in order."""
        return [self._one(self.rows[key]) for key in keys]

    def _one(self, row: Row) -> Image.Image:
        try:
            data = base64.b64decode(self.column[row.number].as_py(), validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f"{row.where}: the picture is no base64", found=error) from error
        return picture(data, row.where)


def encoded(table: Rows, key: str = "index") -> tuple[Encoded, list[str]]:
    """Return the pictures of a TSV file, and the key of each row's.

    A text of at most 64 characters is the `key` of the row whose picture is meant. Raises DataError where
    that row is not there or has none either, or where a key stands twice.
    """
    owners: dict[str, Row] = {}
    for row in table.rows:
        if owners.setdefault(row.text(key), row) is not row:
            raise DataError(f"{row.where}: the {key} {row.text(key)} stands above")
    sizes = _sizes(table.images)
    shown = []
    for row in table.rows:
        owner = row
        if sizes[row.number] <= REFERENCE:
            named = str(table.images[row.number].as_py()).strip()
            owner = owners.get(named.removesuffix(".0"), row)
            if sizes[owner.number] <= REFERENCE:
                raise DataError(
                    f"{row.where}: no picture",
                    found=f"'{named}'" if named else "nothing in the column image",
                    allowed=f"base64, or the {key} of a row that has a picture of its own",
                )
        shown.append(owner.text(key))
    return Encoded(table.images, owners), shown


def _sizes(column: Any) -> list[int]:
    import pyarrow.compute as pc

    return [int(n) for n in pc.utf8_length(column).to_pylist()]


@dataclass(frozen=True)
class InParquet:
    """Pictures in parquet files, in a column of {bytes, path}; a row group is read at a time."""

    rows: Mapping[str, Row]
    setting: str
    _held: list[tuple[Path, int, Any]] = field(default_factory=list, repr=False)  # file, first row, column

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures in order; each row group among them is read once."""
        images: dict[str, Image.Image] = {}
        for key in sorted(set(keys), key=lambda k: (str(self.rows[k].file), self.rows[k].number)):
            row = self.rows[key]
            images[key] = picture(self._bytes(row), row.where)
        return [images[key] for key in keys]

    def _bytes(self, row: Row) -> bytes:
        for file, first, column in self._held:
            if file == row.file and first <= row.number < first + len(column):
                return _plain_bytes(column[row.number - first].as_py())
        self._read(row)
        return self._bytes(row)

    def _read(self, row: Row) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            source, first, group = pq.ParquetFile(row.file), 0, 0
            while first + source.metadata.row_group(group).num_rows <= row.number:
                first += source.metadata.row_group(group).num_rows
                group += 1
            if (size := unpacked(source.metadata, group, IMAGE)) > MAX_COLUMNS:
                raise DataError(
                    f"{self.setting}: '{row.file}' is too large to read a row group at a time",
                    found=f"{size:,} bytes in one",
                    allowed=f"at most {MAX_COLUMNS:,}",
                )
            column = source.read_row_group(group, columns=[IMAGE])[IMAGE]
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{row.where}: the column image cannot be read", found=error) from error
        self._held[:] = [(row.file, first, column)]  # one row group is in memory at a time


def _plain_bytes(cell: object) -> bytes:
    held = cell.get("bytes") if isinstance(cell, Mapping) else cell
    return held if isinstance(held, bytes) else b""


def album_of(table: Rows, pictures: Sequence[str], setting: str) -> tuple[Album, list[str]]:
    """Return the pictures of a table and the key of each row's: `pictures`, which name a row's picture, in
    parquet files; the row that has the picture in a TSV file.
    """
    if table.images is not None:
        return encoded(table)
    owners: dict[str, Row] = {}
    for key, row in zip(pictures, table.rows, strict=True):
        owners.setdefault(key, row)
    return InParquet(owners, setting), list(pictures)
