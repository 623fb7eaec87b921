"""A table as a value: panels of finished cells, and notes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from razor_cli.tables.cells import Number

COMMAND = re.compile(r"\brazor(-run)? \w")


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One block of a table; cells are finished texts, which may know their numbers (`cells.Number`), heads
    what stands below them (`cells.Heading`). The first `labels` columns name the row, the one at `width` its
    width. `bold` are (row, column) of cells that stand out.
    """

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    bold: frozenset[tuple[int, int]] = frozenset()
    labels: int = 2
    width: int | None = None

    def is_reason(self, row: Sequence[str], place: int) -> bool:
        """Tell whether a cell says why its row has no numbers: a text before cells that are empty."""
        cell, rest = row[place], row[place + 1 : place + 2]
        text = cell and not isinstance(cell, Number)
        return place >= self.labels and bool(text) and (COMMAND.search(cell) is not None or rest == ("",))


@dataclass(frozen=True, kw_only=True)
class Document:
    """A table of the papers: panels, and notes that belong to them."""

    name: str
    title: str
    panels: list[Panel]
    notes: list[str] = field(default_factory=list)
