"""MMBench (English, dev) as it is published: a TSV file, or the hub's parquet files.

`setting` is the configuration key that names the place, for messages.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from razor_cli.errors import DataError
from razor_cli.families.llava.benchmarks.albums import album_of
from razor_cli.families.llava.benchmarks.items import Item, QuestionSet
from razor_cli.families.llava.benchmarks.mmbench import MILLION, circular
from razor_cli.families.llava.benchmarks.tables import Row, read_tables

LAYOUTS = (
    "a TSV file or dev-*.parquet with index, question, hint, A, B, C, D, answer, category, l2-category, image"
)
NEEDED = ("index", "question", "A", "B", "answer", "category", "image")
PATTERNS = ("dev-*.parquet", "en/dev-*.parquet", "*.tsv")
LETTERS = "ABCDEFGH"


def read_mmbench(root: Path, setting: str) -> QuestionSet:
    """Return MMBench in all rotations of the options. Raises DataError for anything not laid out like it."""
    table = read_tables(root, setting, PATTERNS, "MMBench as it is published", LAYOUTS)
    table.need(NEEDED, "MMBench with its answers")
    album, pictures = album_of(table, [_main(r) for r in table.rows], setting)
    items = [
        _item(r, p) for r, p in zip(table.rows, pictures, strict=True) if r.optional("split") in ("", "dev")
    ]
    _check(items, setting)
    rotated, note = circular(items)
    notes = (f"MMBench: {note}",) if note else ()
    return QuestionSet(name="MMBench", items=rotated, album=album, notes=notes)


def _main(row: Row) -> str:
    """Return the index of the question that a row is a rotation of."""
    return str(row.whole("index") % MILLION)


def _item(row: Row, picture: str) -> Item:
    options = tuple((letter, text) for letter in LETTERS if (text := row.optional(letter)))
    answer = row.text("answer")
    if len(options) < 2 or answer not in dict(options):
        raise DataError(
            f"{row.where}: the answer is no option that there is",
            allowed=f"{', '.join(letter for letter, _ in options) or 'no options'}; two options at least",
            found=answer,
        )
    return Item(
        key=str(row.whole("index")),
        picture=picture,
        question=row.text("question"),
        answer=answer,
        category=row.text("category"),
        level=row.optional("l2-category") or row.optional("L2-category"),
        group=_main(row),
        hint=row.optional("hint"),
        options=options,
    )


def _check(items: list[Item], setting: str) -> None:
    keys = Counter(i.key for i in items)
    if not items:
        raise DataError(f"{setting}: no row of the split dev", allowed="dev: the test split has no answers")
    if twice := [k for k, n in keys.items() if n > 1]:
        raise DataError(f"{setting}: the index {twice[0]} stands there twice", found=f"{len(twice)} of them")
    if lost := [i for i in items if i.group not in keys]:
        raise DataError(
            f"{setting}: {len(lost)} rotations without the question that they rotate",
            found=f"index {lost[0].key} without {lost[0].group}",
            fix="take the whole file as it was published",
        )
