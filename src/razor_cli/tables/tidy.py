"""A table as one tidy CSV: a row for every number, the same columns in every table, so that
`pandas.read_csv` gives a frame to filter and to plot.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from razor_cli.escape import in_csv
from razor_cli.tables.cells import ASIDE, MEASURED, PUBLISHED, REMARK, Meaning, Number, meaning_of

if TYPE_CHECKING:
    from razor_cli.tables.document import Document, Panel

COLUMNS = (
    *("panel", "row", "metric", "variant", "width", "value", "low", "high", "n", "seeds"),
    *("source", "unit", "note"),
)
WIDTHS = {"8bit": "int8", "4bit": "int4"}  # as tables of the papers write them: as records do
DOUBTFUL = "cannot be right as printed"
NUMBER = r"[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?"
# What a text without a number of its own may print: one, its deviation, and the mark of a doubtful one.
PRINTED = re.compile(rf"(?P<value>{NUMBER})(?: ± {NUMBER})?(?: \*)?(?P<doubtful>\?)?")
NOTHING = ("", "–")
DIGITS = ".6g"  # more than any table prints, fewer than rounding in a score file changes

Entry = dict[str, object]


def comma_separated(doc: Document) -> str:
    """Return the numbers of all panels in one CSV; where there are none, its head alone.

    A row of a panel that has no number keeps one row with an empty value, and says why in `note`.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for panel in doc.panels:
        for entry in entries(panel):
            writer.writerow([in_csv(_text(entry.get(name))) for name in COLUMNS])
    return out.getvalue()


def entries(panel: Panel) -> Iterable[Entry]:
    """Yield the numbers of one panel, row by row."""
    for row in panel.rows:
        place: Entry = {"panel": panel.title, **_place(panel, row)}
        found = list(_numbers(panel, row))
        remarks = "; ".join(_remarks(panel, row))
        if not any(entry["source"] == MEASURED for entry in found) and remarks:
            yield place | {"n": 0, "note": remarks}
        for entry in found:
            width = entry.pop("width") or place["width"]
            of_run = entry["source"] != PUBLISHED
            notes = (entry.pop("note"), remarks if of_run else "")
            yield place | entry | {"width": width, "note": "; ".join(str(n) for n in notes if n)}


def _place(panel: Panel, row: Sequence[str]) -> Entry:
    """Return what a row is called, and its width."""
    labels = [cell for i, cell in enumerate(row[: panel.labels]) if i != panel.width and cell not in NOTHING]
    width = str(row[panel.width]) if panel.width is not None else ""
    return {"row": " | ".join(labels), "width": WIDTHS.get(width, width)}


def _numbers(panel: Panel, row: Sequence[str]) -> Iterable[Entry]:
    for head, cell in list(zip(panel.columns, row, strict=True))[panel.labels :]:
        meaning = meaning_of(head)
        if meaning.source not in (ASIDE, REMARK) and (found := _entry(meaning, cell)):
            yield found


def _entry(meaning: Meaning, cell: str) -> Entry | None:
    named: Entry = {
        "metric": meaning.metric,
        "variant": meaning.variant,
        "width": meaning.width,
        "source": meaning.source,
        "unit": meaning.unit,
        "note": "",
    }
    if isinstance(cell, Number):
        known = {name: getattr(cell, name) for name in ("value", "low", "high", "n", "seeds", "note")}
        return named | known
    if (printed := PRINTED.fullmatch(cell)) is None:
        return None
    doubtful = DOUBTFUL if printed["doubtful"] else ""
    return named | {"value": float(printed["value"].replace("−", "-")), "note": doubtful}


def _remarks(panel: Panel, row: Sequence[str]) -> Iterable[str]:
    """Yield what a row says beside its numbers: why there are none, which targets it lacks."""
    for head, cell in list(zip(panel.columns, row, strict=True))[panel.labels :]:
        source = meaning_of(head).source
        if isinstance(cell, Number) or cell in NOTHING:
            continue
        if source == REMARK:
            yield f"{head}: {cell}"
        elif source == MEASURED and not PRINTED.fullmatch(cell):
            yield cell


def _text(value: object) -> str:
    return f"{value:{DIGITS}}" if isinstance(value, float) else "" if value is None else str(value)
