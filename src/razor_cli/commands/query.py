"""`razor query`: SQL over everything that was recorded."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razor_cli.commands.options import CHECK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from razor_cli.screen import Screen

NARROWEST = 16  # characters of a cell that a column keeps room for
FRAME = 3  # characters between two columns


class Format(StrEnum):
    """How the result is printed."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    MARKDOWN = "markdown"


def query(
    sql: Annotated[str, typer.Argument(help="one select over the views scores, runs and edit_log")],
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = Path("outputs"),
    form: Annotated[Format, typer.Option("--format", help="table, csv, json or markdown")] = Format.TABLE,
    check: Annotated[bool, typer.Option("--check", help=CHECK)] = False,
) -> None:
    """Ask over all complete runs. Views: scores (a row per number), runs (a row per run), edit_log (a row per
    step).
    """
    from razor_cli.printing import note, put
    from razor_cli.runs.archive import answer, render

    columns, rows = answer(output_dir, sql, note, check=check)
    if form is not Format.TABLE:
        put(render(columns, rows, form.value))
        return
    from razor_cli.screen import Screen

    console = Screen(highlight=False)
    cells = [list(map(_cell, row)) for row in rows]
    if _fits(columns, cells, console.width):
        _print_table(console, columns, cells)
    else:
        _print_each(console, columns, cells)
    console.print(f"{len(rows)} {'row' if len(rows) == 1 else 'rows'}")


def _cell(value: object) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _fits(columns: Sequence[str], rows: Sequence[Sequence[str]], room: int) -> bool:
    """Tell whether every column of a table finds room for its cells, of long ones for their beginning."""
    longest = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    return sum(min(n, NARROWEST) + FRAME for n in longest) + 1 <= room


def _print_table(console: Screen, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table
    from rich.text import Text

    from razor_cli.escape import on_screen

    table = Table()
    for name in columns:
        table.add_column(Text(on_screen(name)))
    for row in rows:
        table.add_row(*(Text(on_screen(cell)) for cell in row))
    console.print(table)


def _print_each(console: Screen, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows below each other, a line for each column that says something."""
    from razor_cli.report.cells import Words, print_fields

    words = Words(console.options.ascii_only)
    for number, row in enumerate(rows, 1):
        console.print(f"row {number}")
        named = zip(columns, row, strict=True)
        print_fields(console, words, [(words(name), cell) for name, cell in named if cell])
    console.print("too many columns for a table of this width; --format csv, json or markdown has all")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(query)
