"""The page that leads to every table and figure of a folder."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from razor_cli.runs.folder import write_atomic
from razor_cli.tables.base import FORMS
from razor_cli.tables.page import rendered, with_commands
from razor_cli.tables.registry import TABLES

INDEX = "index.html"
FIGURES = ("svg", "pdf", "png")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What the index says of one table: what it shows, in which forms it lies there, and its figures."""

    what: Markup
    forms: list[str]
    figures: list[list[str]]  # in all their forms


def write_index(folder: Path) -> None:
    """Write the index of a folder anew, from what lies there."""
    there = {path.name for path in folder.iterdir()}
    entries = {
        name: Entry(
            what=with_commands(what),
            forms=[form for form in FORMS if f"{name}.{form}" in there],
            figures=_figures(name, there),
        )
        for name, (what, *_) in TABLES.items()
        if f"{name}.html" in there
    }
    write_atomic(folder / INDEX, rendered("index.html", title="Tables and figures", entries=entries))


def _figures(name: str, there: Collection[str]) -> list[list[str]]:
    """Return the files of a table's figures, figure by figure."""
    found = {int(m[1] or 1) for f in there if (m := re.fullmatch(rf"{name}(?:_(\d+))?\.\w+", f))}
    each = ((f"{name}_{k}" if k > 1 else name) for k in sorted(found))
    files = ([f"{stem}.{form}" for form in FIGURES if f"{stem}.{form}" in there] for stem in each)
    return [own for own in files if own]
