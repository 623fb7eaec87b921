"""Cells and headings of a table: texts that know which number they print, so that one table gives a page to
read and rows to compute with.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

ARROW = re.compile(r" (?:↓|↑|→0) ?")  # in a head: which way is better
NO_BREAK = "\u00a0"
MEASURED, PUBLISHED, DIFFERENCE = "measured", "published", "difference"
REMARK, ASIDE = "remark", ""  # a text that belongs to the row's numbers; what is neither number nor remark


class Number(str):
    """A cell as it is printed, and the number behind it: bounds of its interval, of how many values it is the
    mean (or of how many examples the share), over how many seeds, and what a reader must know of it.
    """

    __slots__ = ("high", "low", "n", "note", "seeds", "value")

    value: float
    low: float | None
    high: float | None
    n: int | None
    seeds: int | None
    note: str

    def __new__(
        cls,
        text: str,
        value: float,
        *,
        interval: tuple[float | None, float | None] = (None, None),
        n: int | None = None,
        seeds: int | None = None,
        note: str = "",
    ) -> Self:
        """Return the cell `text` of a value."""
        cell = super().__new__(cls, text)
        cell.value, (cell.low, cell.high) = value, interval
        cell.n, cell.seeds, cell.note = n, seeds, note
        return cell


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the cells of a column are, by `source`: numbers that were MEASURED or PUBLISHED or are a
    DIFFERENCE, a REMARK, or ASIDE. `width` overrides that of the row.
    """

    metric: str
    variant: str = ""
    unit: str = ""
    source: str = MEASURED
    width: str = ""


class Heading(str):
    """The head of a column as it is printed, and what stands below it."""

    __slots__ = ("meaning",)

    meaning: Meaning

    def __new__(cls, text: str, meaning: Meaning) -> Self:
        """Return the head `text` of a column."""
        head = super().__new__(cls, text)
        head.meaning = meaning
        return head


def kept_together(head: str) -> str:
    """Return a head whose arrow and unit stay at its last word when it breaks its lines."""
    return re.sub(r" (?=[↓↑→]|%$)|(?<=[↓↑→]) |(?<=→0) ", NO_BREAK, head)


def aside(text: str) -> Heading:
    """Return the head of a column that holds no number of its own: counts of runs, signs."""
    return Heading(text, Meaning(metric="", source=ASIDE))


def remark(text: str) -> Heading:
    """Return the head of a column whose text belongs to the numbers of its row."""
    return Heading(text, Meaning(metric="", source=REMARK))


def meaning_of(head: str) -> Meaning:
    """Return what stands below a head; one that does not say is a metric by its own name, with what follows
    an arrow as its unit.
    """
    if isinstance(head, Heading):
        return head.meaning
    found = ARROW.search(head)
    return Meaning(metric=head[: found.start()], unit=head[found.end() :]) if found else Meaning(metric=head)
