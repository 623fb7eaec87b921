"""GQA's balanced testdev questions as they are published: the hub's pair of parquet sets, a TSV file, or the
release's JSON beside its pictures.

`setting` is the configuration key that names the place, for messages.
"""

from __future__ import annotations

from pathlib import Path

from razor_cli.data.texts import MAX_FILE, parsed_object
from razor_cli.errors import DataError
from razor_cli.families.llava.benchmarks.albums import InParquet, PictureFiles, album_of, file_of
from razor_cli.families.llava.benchmarks.items import Album, Item, QuestionSet
from razor_cli.families.llava.benchmarks.tables import Row, Rows, located, read_tables

SPLIT = "testdev_balanced"
LAYOUTS = (
    f"{SPLIT}_instructions/*.parquet with {SPLIT}_images/*.parquet; a TSV file with index, image, question, "
    f"answer; or {SPLIT}_questions.json with images/<imageId>.jpg"
)
JSON = (f"{SPLIT}_questions.json", f"questions/{SPLIT}_questions.json")
WHAT = "GQA as it is published"


def read_gqa(root: Path, setting: str) -> QuestionSet:
    """Return GQA. Raises DataError for anything that is not laid out like it."""
    if (root / f"{SPLIT}_instructions").is_dir():
        items, album = _pair(root, setting)
    else:
        file = located(root, setting, (*JSON, "*.tsv"), WHAT, LAYOUTS)[0]
        items, album = _json(file, setting) if file.suffix == ".json" else _tsv(root, setting)
    if len({i.key for i in items}) < len(items):
        raise DataError(f"{setting}: questions of GQA with one id", fix="take the file as it was published")
    return QuestionSet(name="GQA", items=tuple(items), album=album)


def _tsv(root: Path, setting: str) -> tuple[list[Item], Album]:
    table = read_tables(root, setting, ("*.tsv",), WHAT, LAYOUTS)
    table.need(("index", "image", "question", "answer"), "GQA")
    album, pictures = album_of(table, [r.text("index") for r in table.rows], setting)
    return [_item(r, r.text("index"), p) for r, p in zip(table.rows, pictures, strict=True)], album


def _pair(root: Path, setting: str) -> tuple[list[Item], Album]:
    asked, shown = (_part(root / f"{SPLIT}_{name}", setting) for name in ("instructions", "images"))
    asked.need(("id", "imageId", "question", "answer"), "GQA's instructions")
    shown.need(("id", "image"), "GQA's images")
    pictures = {r.text("id"): r for r in shown.rows}
    for row in asked.rows:
        if row.text("imageId") not in pictures:
            raise DataError(
                f"{row.where}: the picture {row.text('imageId')} is not in {SPLIT}_images",
                fix="fetch both sets of the same split, all files of each",
            )
    return [_item(r, r.text("id"), r.text("imageId")) for r in asked.rows], InParquet(pictures, setting)


def _part(folder: Path, setting: str) -> Rows:
    return read_tables(folder, setting, ("*.parquet",), WHAT, LAYOUTS)


def _json(file: Path, setting: str) -> tuple[list[Item], Album]:
    where = f"{setting}: '{file}'"
    items: list[Item] = []
    paths: dict[str, Path] = {}
    places = [p / "images" for p in (file.parent, file.parent.parent) if (p / "images").is_dir()]
    if not places:
        raise DataError(f"{where}: no folder images beside it", allowed=LAYOUTS)
    for key, entry in parsed_object(_text(file, where), where, LAYOUTS).items():
        cells = entry if isinstance(entry, dict) else {}
        row = Row(where=f"{where}, question {key}", file=file, number=len(items), cells=cells)
        picture = row.text("imageId")
        if picture not in paths:
            paths[picture] = file_of(places[0], picture, row.where)
        items.append(_item(row, key, picture))
    if not items:
        raise DataError(f"{where}: no questions", allowed=LAYOUTS)
    return items, PictureFiles(paths, setting)


def _text(file: Path, where: str) -> str:
    try:
        if (size := file.stat().st_size) > MAX_FILE:
            raise DataError(f"{where} is too large", found=f"{size:,} bytes", allowed=f"{MAX_FILE:,}")
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{where} cannot be read as text", found=error) from error


def _item(row: Row, key: str, picture: str) -> Item:
    types = row.cells.get("types")
    kind = types.get("structural") if isinstance(types, dict) else None
    return Item(
        key=key,
        picture=picture,
        question=row.text("question"),
        answer=row.text("answer"),
        category=str(kind or ""),
    )
