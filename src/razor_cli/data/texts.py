"""Text files of the user's (captions, lists, solutions, taxonomies), read in one way and refused in one
wording.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import stat
from collections.abc import Iterator
from pathlib import Path

from razor_cli.errors import DataError

MAX_FILE = 200_000_000  # bytes of a list; WordNet's and CelebA's are a tenth of it
MAX_LINE = 100_000  # characters
MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
FIX = "save it as UTF-8"


def decoded(data: bytes, where: str) -> str:
    """Return bytes as text with one kind of line ends: UTF-8 with or without its mark, UTF-16 with its mark.

    Raises DataError, which begins with `where` and names the line, for any other bytes, for a NUL among
    them, and for a line of absurd length.
    """
    coding = next((coding for mark, coding in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(coding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"line {line}, byte {error.start + 1} of the file: 0x{data[error.start]:02x}"
        name = "UTF-8" if coding.startswith("utf-8") else "UTF-16"
        raise DataError(f"{where} is not {name} text", found=found, fix=FIX) from error
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    for number, line_text in enumerate(text.split("\n"), 1):
        if "\0" in line_text:
            found = f"a NUL byte in line {number}: UTF-16 without its mark, or no text at all"
            raise DataError(f"{where} is not UTF-8 text", found=found, fix=FIX)
        if len(line_text) > MAX_LINE:
            raise DataError(
                f"{where}, line {number}: {len(line_text):,} characters",
                allowed=f"lines of at most {MAX_LINE:,} characters",
            )
    return text


def read_text(path: Path, *, setting: str = "", max_bytes: int = MAX_FILE) -> str:
    """Return a text file, as `decoded` does. Raises DataError naming the file, after `setting` if there
    is one.
    """
    where = f"{setting}: '{path}'" if setting else f"'{path}'"
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a device or a pipe may never end
            raise DataError(f"{where} is no file", allowed="a text file")
        if status.st_size > max_bytes:
            allowed = f"at most {max_bytes:,} bytes of text"
            raise DataError(f"{where} is too large", found=f"{status.st_size:,} bytes", allowed=allowed)
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{where} cannot be read", found=error.strerror or error) from error
    return decoded(data, where)


def read_lines(path: Path, *, setting: str = "") -> list[str]:
    """Return the lines of a text file without their ends; raises DataError as `read_text` does."""
    return read_text(path, setting=setting).split("\n")


def read_csv(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield (line where it begins, fields) for each row of a CSV file that is not blank.

    Raises DataError naming the line for quotes that do not close or that stand amid a field.
    """
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    begins = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield begins, row
            begins = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"'{path}', line {begins}: not CSV",
            found=error,
            allowed='fields with commas between them, and "…" around one that holds a comma or a quote',
        ) from error


def read_table(path: Path) -> tuple[tuple[str, ...], list[tuple[int, dict[str, str]]]]:
    """Return the columns of a CSV file (lower case) and its rows below the header with their line numbers.

    Raises DataError for a column that is named twice, and for a row with more fields than columns.
    """
    rows = read_csv(path)
    header = tuple(name.strip().lower() for name in next(rows, (1, []))[1])
    if twice := [n for n in header if n and header.count(n) > 1]:
        raise DataError(f"'{path}': the column {twice[0]} stands there twice", found=", ".join(header))
    found = []
    for number, row in rows:
        if any(field.strip() for field in row[len(header) :]):
            raise DataError(
                f"'{path}', line {number}: {len(row)} fields below a header of {len(header)}",
                found=",".join(row)[:80],
                fix='put a text with commas into quotes: 1.jpg,"one, two"',
            )
        padded = [*row, *[""] * (len(header) - len(row))]
        found.append((number, {name: padded[i] for i, name in enumerate(header) if name}))
    return header, found


def parsed_object(text: str, where: str, allowed: str) -> dict[str, object]:
    """Return a JSON object. Raises DataError, which begins with `where`, for anything else, and for a key
    with two values.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON", found=error, allowed=allowed) from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: not an object", found=text[:80], allowed=allowed)
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if found.setdefault(key, value) != value:
            raise ValueError(f"the key {key} stands there twice")
    return found


def one_line(text: str) -> str:
    """Return a caption on one line. Halves of a character, which JSON may hold, become U+FFFD."""
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return " ".join(whole.split())
