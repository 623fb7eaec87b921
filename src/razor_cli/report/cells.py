"""How a report writes single things: numbers, intervals, headings, and text that any terminal can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from razor_cli.escape import on_screen
from razor_cli.metrics.score import Score

ASCII_FORMS = {
    "↓": "(down)",
    "↑": "(up)",
    "→0": "(to 0)",
    "→": "->",
    "φ": "phi",
    "×": "x",
    "–": "-",
    "²": "^2",
    "·": "-",
    "≤": "<=",
    "≥": ">=",
}
ARROWS = {"down": "↓", "up": "↑", "zero": "→0", "chance": "→ chance", "none": ""}
DIGITS = {"%": 1, "points": 1, "nats": 3}


@dataclass(frozen=True)
class Words:
    """Text as the terminal can show it: names stay as they are, or become ASCII with escapes where it must
    be.
    """

    ascii_only: bool

    def __call__(self, text: str) -> str:
        """Return `text` as it can be printed."""
        text = on_screen(text)
        if not self.ascii_only:
            return text
        for sign, form in ASCII_FORMS.items():
            text = text.replace(sign, form)
        return text.encode("ascii", "backslashreplace").decode()


def number(value: float, unit: str) -> str:
    """Return a value as tables print it: percentages and points with one decimal, nats with three, the rest
    with two.
    """
    text = f"{value:.{DIGITS.get(unit, 2)}f}"
    return text.replace("-", "") if float(text) == 0 else text


def interval(score: Score) -> str:
    """Return ` [low, high]`, or nothing for a score without an interval."""
    if score.ci_low is None or score.ci_high is None:
        return ""
    return f" [{number(score.ci_low, score.unit)}, {number(score.ci_high, score.unit)}]"


def heading(title: str, score: Score | None) -> str:
    """Return a column's two-line heading: the title, then arrow and unit."""
    if score is None:
        return title
    unit = score.unit.replace("x100", "×100")
    return (
        f"{title}\n{' '.join(part for part in (ARROWS.get(score.direction, score.direction), unit) if part)}"
    )


def table(title: str | None) -> Table:
    """Return an empty table as all of a report's tables look."""
    style: dict[str, Any] = {"title_justify": "left", "title_style": "bold"} if title else {}
    return Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, **style)


def print_fields(console: Console, words: Words, fields: Sequence[tuple[str, str | Text]]) -> None:
    """Print labels with texts that wrap beside them, not under them."""
    if not fields:
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, overflow="crop")
    grid.add_column()
    for label, text in fields:
        grid.add_row(Text(label), Text(words(text)) if isinstance(text, str) else text)
    console.print(grid)


def chunks(widths: Sequence[int], room: int) -> list[list[int]]:
    """Return column numbers cut into as few groups as fit into `room`, of sizes as equal as possible."""
    for count in range(1, len(widths) + 1):
        size = -(-len(widths) // count)
        groups = [list(range(start, min(start + size, len(widths)))) for start in range(0, len(widths), size)]
        if count == len(widths) or all(sum(widths[i] + 2 for i in group) <= room for group in groups):
            return groups
    return []
