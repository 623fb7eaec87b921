"""The page that leads to every table and figure of a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from razor_cli.runs.folder import write_atomic
from razor_cli.tables.base import FORMS
from razor_cli.tables.page import rendered
from razor_cli.tables.registry import TABLES

INDEX = "index.html"
FIGURES = ("svg", "pdf", "png")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the index says of one table: what it shows, in which forms it lies there, and its figures."""

    what: str
    forms: list[str]
    figures: list[str]


def write_index(folder: Path) -> None:
    """Write the index of a folder anew, from what lies there."""
    there = {path.name for path in folder.iterdir()}
    entries = {
        name: Entry(
            what=what,
            forms=[form for form in FORMS if f"{name}.{form}" in there],
            figures=sorted(f for f in there if re.fullmatch(rf"{name}(_\d+)?\.({'|'.join(FIGURES)})", f)),
        )
        for name, (what, *_) in TABLES.items()
        if f"{name}.html" in there
    }
    write_atomic(folder / INDEX, rendered("index.html", title="Tables and figures", entries=entries))
