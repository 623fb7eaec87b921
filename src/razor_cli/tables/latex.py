"""A table in LaTeX, ready for print: booktabs, a label for each panel, and nothing wider than a line of text.

A panel that is wider than a line is set as several blocks below one another, each with the row's names again;
one that is longer than a page goes on in a further table. Nothing is scaled.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from razor_cli.escape import on_screen
from razor_cli.tables.cells import ASIDE, NO_BREAK, REMARK, Number, kept_together, meaning_of
from razor_cli.tables.document import COMMAND

if TYPE_CHECKING:
    from razor_cli.tables.document import Document, Panel

LINE = 340.0  # points of a line that a block may fill; an article in 10 pt has 345
GAP = 8.0  # points between columns, as \tabcolsep below says
WIDEST = 118.0  # points of a column of text, which breaks its lines
NAMES = 210.0  # points that the columns of a row's names may take together
TALLEST = 50  # lines of a page, its caption's among them
CAPTION = 80  # letters of a caption's line
HEAD = 13  # letters of a head's line
# Points of a letter at 8 pt, somewhat more than Computer Modern's; a bold one takes a sixth more.
LETTERS = {2.6: "ijlI.,:;|'!()[]f t", 7.4: "mwMW%@—", 6.8: "-ABCDEFGHJKLNOPQRSTUVXYZ&±≈−×→↑↓Δφρ+<>=≤≥✗"}
POINTS = {letter: width for width, letters in LETTERS.items() for letter in letters}
USUAL, BOLD = 4.6, 7 / 6
SPECIAL = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "↓": r"$\downarrow$",
    "↑": r"$\uparrow$",
    "→": r"$\to$",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "−": r"$-$",
    "Δ": r"$\Delta$",
    "·": r"$\cdot$",
    "²": r"$^2$",
    "φ": r"$\phi$",
    "ρ": r"$\rho$",
    "α": r"$\alpha$",
    "τ": r"$\tau$",
    "λ": r"$\lambda$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "–": "--",
    "—": "---",
    "×": r"$\times$",
    "✗": r"$\times$",
    "…": r"\dots{}",
    "‖": r"$\|$",
    "°": r"$^\circ$",
    NO_BREAK: "~",
}
MINUS = re.compile(r"(?<![\w.])-(?=\d)")  # before a number, not in 1e-05
LATIN = "\u024f"  # letters up to here are those of every LaTeX
OTHER_LETTERS = "letters outside Latin: compile with lualatex and a font that has them"


def latex(doc: Document) -> str:
    """Return a table for each panel; commands that run what is missing, and the notes, are comments."""
    tables, missing = [], []
    for number, panel in enumerate(doc.panels, 1):
        tables += list(_tables(doc, panel, f"tab:{doc.name}:{number}"))
        missing += [cell for row in panel.rows for j, cell in enumerate(row) if panel.is_reason(row, j)]
    text = "\n".join(tables)
    needs = r"\usepackage[T1]{fontenc}, \usepackage{booktabs}"
    if any(sign.isalpha() and sign > LATIN for sign in text):
        needs += f"; {OTHER_LETTERS}"
    notes = [*(on_screen(n) for n in dict.fromkeys((*missing, *doc.notes))), f"needs {needs}"]
    return text + "".join(f"% {note}\n" for note in notes)


def _tables(doc: Document, panel: Panel, label: str) -> Iterable[str]:
    """Yield a panel as one table, or as several where it is longer than a page."""
    blocks = list(_blocks(panel, [_Column(panel, j) for j in range(len(panel.columns))]))
    title = f"{tex(doc.title)}: {tex(panel.title)}"
    pages = _pages(panel, blocks, TALLEST - len(title) / CAPTION)
    for part, (together, rows) in enumerate(pages):
        body = "\n\n\\medskip\n".join(_tabular(panel, block, rows) for block in together)
        yield (
            "\\begin{table}\n\\centering\\footnotesize\\setlength{\\tabcolsep}{4pt}\n"
            f"\\caption{{{title}{' (continued)' if part else ''}}}\n"
            f"\\label{{{label}{f'-{part + 1}' if part else ''}}}\n{body}\n\\end{{table}}\n"
        )


Blocks = Sequence[Sequence["_Column"]]


def _pages(panel: Panel, blocks: Blocks, lines: float) -> Iterable[tuple[Blocks, range]]:
    """Yield which blocks stand on a page together, and which of their rows: whole panels where they fit, else
    as many blocks as leave room for the rows.
    """
    heads = [1.1 * max(len(c.head) for c in block) + 2.4 for block in blocks]  # lines, with the rules
    rows = [[max(c.lines[i] for c in block) for i in range(len(panel.rows))] for block in blocks]
    first = 0
    while first < len(blocks):
        last, taken = first + 1, heads[first] + sum(rows[first])
        while last < len(blocks) and taken + heads[last] + sum(rows[last]) <= lines:
            taken += heads[last] + sum(rows[last])
            last += 1
        heights = [sum(own) for own in zip(*rows[first:last], strict=True)]
        for part in _parts(heights, lines - sum(heads[first:last])):
            yield blocks[first:last], part
        first = last


def _parts(heights: Sequence[int], lines: float) -> Iterable[range]:
    """Yield which rows stand on a page together, of so many lines each."""
    first, taken = 0, 0
    for place, height in enumerate(heights):
        if place > first and taken + height > lines:
            yield range(first, place)
            first, taken = place, 0
        taken += height
    yield range(first, len(heights))


class _Column:
    """One column of a panel: its head in lines, its width in points, and whether its text breaks lines."""

    def __init__(self, panel: Panel, place: int) -> None:
        self.place, self.label = place, place < panel.labels
        self.most = min(WIDEST, NAMES / panel.labels) if self.label else WIDEST
        self.head = textwrap.wrap(
            kept_together(on_screen(panel.columns[place])), HEAD, break_long_words=False
        ) or [""]
        plain = [points(_short(panel, row, place)) for row in panel.rows]
        widths = [(BOLD if (i, place) in panel.bold else 1) * width for i, width in enumerate(plain)]
        own = max(widths, default=0.0)
        aside = meaning_of(panel.columns[place]).source in (ASIDE, REMARK)
        self.broken = own > self.most
        self.left = self.label or self.broken or aside
        self.width = max(min(own, self.most), *map(points, self.head)) + GAP
        # lines of each row
        self.lines = [math.ceil(1.15 * width / self.most) if self.broken else 1 for width in plain]

    @property
    def kind(self) -> str:
        """Return what the column is in a tabular."""
        return f"p{{{self.most:.0f}pt}}" if self.broken else "l" if self.left else "r"


def points(text: str) -> float:
    """Return about how wide a text is at 8 pt, rather too much than too little."""
    return sum(POINTS.get(sign, USUAL if sign <= LATIN else 8.0) for sign in text)


def _blocks(panel: Panel, columns: Sequence[_Column]) -> Iterable[list[_Column]]:
    """Yield the columns that fit beside one another on a line, each block after the row's labels."""
    labels = [c for c in columns if c.label]
    room = LINE - sum(c.width for c in labels)
    block: list[_Column] = []
    for column in columns[panel.labels :]:
        if block and sum(c.width for c in block) + column.width > room:
            yield [*labels, *block]
            block = []
        block.append(column)
    yield [*labels, *block]


def _tabular(panel: Panel, block: Sequence[_Column], rows: range) -> str:
    kinds = "".join(c.kind for c in block)
    head = " & ".join(_head(c) for c in block) + r" \\"
    lines = [" & ".join(_cell(panel, i, c.place) for c in block) + r" \\" for i in rows]
    top = f"\\begin{{tabular}}{{{kinds}}}\n\\toprule"
    return "\n".join([top, head, "\\midrule", *lines, "\\bottomrule\n\\end{tabular}"])


def _head(column: _Column) -> str:
    side = "l" if column.left else "r"
    lines = r" \\ ".join(tex(line) for line in column.head)
    return lines if len(column.head) == 1 else rf"\shortstack[{side}]{{{lines}}}"


def _cell(panel: Panel, i: int, j: int) -> str:
    cell = _short(panel, panel.rows[i], j)
    text = MINUS.sub("$-$", tex(cell)) if isinstance(cell, Number) else tex(cell)
    return rf"\textbf{{{text}}}" if (i, j) in panel.bold else text


def _short(panel: Panel, row: Sequence[str], j: int) -> str:
    """Return what stands in a cell: of a sentence why there is no number only that there is none."""
    if not panel.is_reason(row, j):
        return row[j]
    return "not run" if COMMAND.search(row[j]) else "–"


def tex(text: str) -> str:
    """Return text in which LaTeX finds no sign of its own."""
    return "".join(SPECIAL.get(c, c) for c in on_screen(text))
