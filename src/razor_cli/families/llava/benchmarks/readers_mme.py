"""MME as it is published: parquet files of the hub, a TSV file, or the release's folders of text files.

`setting` is the configuration key that names the place, for messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from razor_cli.data.texts import read_lines
from razor_cli.errors import DataError, nearest
from razor_cli.families.llava.benchmarks.albums import PictureFiles, album_of, file_of
from razor_cli.families.llava.benchmarks.items import Item, QuestionSet
from razor_cli.families.llava.benchmarks.mme import COGNITION, PERCEPTION, check
from razor_cli.families.llava.benchmarks.tables import Rows, read_tables

LAYOUTS = (
    "parquet files with the columns image, question_id, question, answer, category; a TSV file with index, "
    "image, image_path, question, answer, category; or the release: a folder for each sub-task, with "
    "<picture>.txt (question<TAB>answer) beside the pictures or in questions_answers_YN/ beside images/; or "
    "<sub-task>.txt (picture<TAB>question<TAB>answer) beside such folders"
)
PATTERNS = ("*.parquet", "data/*.parquet", "*.tsv")
TASKS = PERCEPTION + COGNITION
APART = "questions_answers_YN"


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """One question as a file has it."""

    task: str
    shown: str  # which picture of the sub-task
    question: str
    answer: str


def read_mme(root: Path, setting: str) -> QuestionSet:
    """Return MME. Raises DataError for anything that is not laid out like it."""
    places = _places(root)
    if places:
        asked, paths = _release(places, setting)
        items = _items(asked, [f"{a.task}/{a.shown}" for a in asked])
        found = QuestionSet(name="MME", items=items, album=PictureFiles(paths, setting))
    else:
        table = read_tables(root, setting, PATTERNS, "MME as it is published", LAYOUTS)
        asked = _rows(table)
        album, pictures = album_of(table, [f"{a.task}/{a.shown}" for a in asked], setting)
        found = QuestionSet(name="MME", items=_items(asked, pictures), album=album)
    check(found.items, setting)
    return found


def _items(asked: Iterable[_Asked], pictures: Iterable[str]) -> tuple[Item, ...]:
    counted: Counter[str] = Counter()
    items = []
    for one, picture in zip(asked, pictures, strict=True):
        group = f"{one.task}/{one.shown}"
        counted[group] += 1
        items.append(
            Item(
                key=f"{group}#{counted[group]}",
                picture=picture,
                question=one.question,
                answer=one.answer.strip().rstrip(".").lower(),
                category=one.task,
                group=group,
            )
        )
    return tuple(items)


def _rows(table: Rows) -> list[_Asked]:
    tsv = table.images is not None
    shown = "image_path" if tsv else "question_id"
    table.need(("image", shown, "question", "answer", "category", *(["index"] if tsv else [])), "MME")
    return [
        _Asked(
            task=_task(r.text("category"), r.where),
            shown=r.text(shown),
            question=r.text("question"),
            answer=r.text("answer"),
        )
        for r in table.rows
    ]


def _task(name: str, where: str) -> str:
    spelled = {t.lower(): t for t in TASKS}
    if name.lower() not in spelled:
        near = nearest(name, TASKS, 1)
        raise DataError(
            f"{where}: no sub-task of MME",
            allowed=", ".join(TASKS),
            found=name,
            fix=f"did you mean {near[0]}?" if near else None,
        )
    return spelled[name.lower()]


def _places(root: Path) -> dict[str, Path]:
    """Return the folder, or the text file, of each sub-task of a folder that is laid out like the release."""
    files = {t: root / f"{t}.txt" for t in TASKS if (root / f"{t}.txt").is_file()}
    return files or {t: root / t for t in TASKS if (root / t).is_dir()}


def _release(places: dict[str, Path], setting: str) -> tuple[list[_Asked], dict[str, Path]]:
    asked, paths = [], {}
    for task, place in places.items():
        folder = place.with_suffix("")
        pictures = folder / "images" if (folder / "images").is_dir() else folder
        for name, where, fields in _lines(place):
            if len(fields) != 2:
                raise DataError(
                    f"{setting}: {where}: not a question and its answer",
                    allowed="two texts with a tab between them",
                    found=f"{len(fields)}",
                )
            path = file_of(pictures, name, f"{setting}: {where}")
            paths[f"{task}/{path.name}"] = path
            asked.append(_Asked(task=task, shown=path.name, question=fields[0].strip(), answer=fields[1]))
    if not asked:
        raise DataError(f"{setting}: no questions in the folders of MME's sub-tasks", allowed=LAYOUTS)
    return asked, paths


def _lines(place: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Yield picture, place and fields of each question, from a sub-task's own file or one per picture."""
    apart = place / APART
    files = [place] if place.is_file() else sorted((apart if apart.is_dir() else place).glob("*.txt"))
    for file in files:
        for number, line in enumerate(read_lines(file), 1):
            if line.strip():
                fields = line.split("\t")
                name = fields.pop(0).strip() if place.is_file() else file.stem
                yield name, f"'{file}', line {number}", fields
