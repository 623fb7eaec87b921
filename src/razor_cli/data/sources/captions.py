"""Captions that lie beside the pictures of a folder: NAME.txt, captions.csv, captions.jsonl.

A list is looked up from both sides: each row must say which picture it means, and what it says about none is
counted.
"""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from razor_cli.data.sources.photo import ENDINGS
from razor_cli.data.sources.tally import Tally
from razor_cli.data.texts import one_line, parsed_object, read_lines, read_table, read_text
from razor_cli.errors import DataError

LISTS = ("captions.csv", "captions.jsonl")
FILE_COLUMNS = ("file", "file_name", "filename", "image")
CAPTION_COLUMNS = ("caption", "text")
MAX_TEXT = 100_000  # bytes of one caption file
ALLOWED = f"{' or '.join(FILE_COLUMNS)}, and {' or '.join(CAPTION_COLUMNS)}"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a list: where it stands, the picture it names, its caption, perhaps empty."""

    place: str  # captions.csv, line 3
    file: str
    caption: str


def captions_of(folder: Path, pictures: Sequence[str], label: str, tally: Tally) -> dict[str, str]:
    """Return the captions of a folder's pictures by file name; the text beside a picture goes before a list.

    What a list or a text says about no picture is counted in `tally`, `label` being the folder's name there.
    Raises DataError for a list that cannot be read, that names no picture at all, or that says two things
    about one.
    """
    told = _listed(folder, pictures, label, tally)
    beside = _beside(folder, pictures, label, tally)
    both = [n for n, text in beside.items() if text and told.get(n, text) != text]
    tally.count(
        "captions of a list not used, as a text lies beside the picture",
        f"{label}/{both[0] if both else ''}",
        len(both),
    )
    merged = told | {n: text for n, text in beside.items() if text or n not in told}
    empty = [n for n, text in merged.items() if not text]
    tally.count("empty captions, read as none", f"{label}/{empty[0] if empty else ''}", len(empty))
    bare = [n for n in pictures if n not in merged] if merged else []
    what = "pictures without a caption beside others that have one"
    tally.count(what, f"{label}/{bare[0] if bare else ''}", len(bare))
    return {name: text for name, text in merged.items() if text}


def _listed(folder: Path, pictures: Sequence[str], label: str, tally: Tally) -> dict[str, str]:
    names = Names(pictures)
    found: dict[str, Row] = {}
    for file in (f for name in LISTS if (f := folder / name).is_file()):
        rows = list(_rows(file))
        missed = []
        for row in rows:
            name = names.find(row.file)
            if name is None:
                missed.append(row)
            elif found.setdefault(name, row).caption != row.caption:
                raise DataError(
                    f"'{folder}': two captions of the picture '{name}'",
                    found=f"{found[name].place} and {row.place}",
                    fix="leave one of them",
                )
        if rows and len(missed) == len(rows):
            raise DataError(
                f"'{file}': none of its {len(rows)} rows names a picture of that folder",
                found=f"'{missed[0].file}' ({missed[0].place})",
                allowed=f"names of pictures beside it, such as '{pictures[0]}'",
                fix="write the names of the files as they are, or remove the list",
            )
        if missed:
            tally.count(
                "rows of captions that name no picture, or several",
                f"'{missed[0].file}' of {label}/{missed[0].place}",
                len(missed),
            )
    return {name: row.caption for name, row in found.items()}


def _beside(folder: Path, pictures: Sequence[str], label: str, tally: Tally) -> dict[str, str]:
    """Return the texts NAME.txt of pictures NAME.*; an empty one is an empty text."""
    texts: dict[str, str] = {}
    stems = defaultdict(list)
    for name in pictures:
        stems[os.path.splitext(name)[0]].append(name)  # noqa: PTH122 (a Path for each name is slow)
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        stem, ending = os.path.splitext(entry.name)  # noqa: PTH122
        if ending.lower() != ".txt" or entry.name.startswith("."):
            continue
        if not entry.is_file(follow_symlinks=False):
            tally.count("texts that are links or folders, which are not read", f"{label}/{entry.name}")
        elif stem not in stems:
            tally.count("texts beside no picture", f"{label}/{entry.name}")
        else:
            text = one_line(read_text(Path(entry.path), max_bytes=MAX_TEXT))
            texts |= dict.fromkeys(stems[stem], text)
    return texts


class Names:
    """File names as lists may write them: with folders, in another case, in another Unicode form, without
    ending.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self._exact = set(names)
        self._alike: Mapping[str, list[str]] = _grouped((_folded(n), n) for n in self._exact)
        self._stems: Mapping[str, list[str]] = _grouped((_folded(Path(n).stem), n) for n in self._exact)

    def find(self, written: str) -> str | None:
        """Return the file that is meant; None where none is, or where several may be."""
        name = written.strip().replace("\\", "/").rpartition("/")[2]
        for exact in (written, name):
            if exact in self._exact:
                return exact
        alike = self._alike.get(_folded(name), [])
        if not alike and Path(name).suffix.lower() not in ENDINGS:
            alike = self._stems.get(_folded(name), [])
        return alike[0] if len(alike) == 1 else None


def _grouped(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found = defaultdict(list)
    for form, name in pairs:
        found[form].append(name)
    return found


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a list. Raises DataError naming the line of one that has no file name, or no place
    for a caption.
    """
    for number, row in _table(file) if file.suffix == ".csv" else _objects(file):
        name = next((row[c] for c in FILE_COLUMNS if row.get(c)), None)
        captions = [row[c] for c in CAPTION_COLUMNS if c in row]
        caption = next((c for c in captions if c), "")
        if not isinstance(name, str) or not captions or not isinstance(caption, str):
            raise DataError(
                f"'{file}', line {number}: needs a file name and a caption",
                allowed=ALLOWED,
                found=", ".join(f"{k}: {v}" for k, v in row.items())[:80],
            )
        yield Row(place=f"{file.name}, line {number}", file=name, caption=one_line(caption))


def _table(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    columns, rows = read_table(file)
    if not set(FILE_COLUMNS) & set(columns) or not set(CAPTION_COLUMNS) & set(columns):
        found = ", ".join(columns) or "an empty file"
        raise DataError(f"'{file}', line 1: needs a column for each", allowed=ALLOWED, found=found)
    yield from rows


def _objects(file: Path) -> Iterator[tuple[int, Mapping[str, object]]]:
    for number, line in enumerate(read_lines(file), 1):
        if line.strip():
            where = f"'{file}', line {number}"
            yield number, parsed_object(line, where, '{"file": "1.jpg", "caption": "…"}')
