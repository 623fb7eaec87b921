"""`razor query`: SQL over everything that was recorded."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from razor_cli.commands.options import CHECK


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
    from rich.table import Table
    from rich.text import Text

    from razor_cli.escape import on_screen
    from razor_cli.screen import Screen

    table = Table()
    for name in columns:
        table.add_column(Text(on_screen(name)))
    for row in rows:
        cells = ("" if v is None else f"{v:.6g}" if isinstance(v, float) else str(v) for v in row)
        table.add_row(*(Text(on_screen(cell)) for cell in cells))
    console = Screen()
    console.print(table)
    console.print(f"{len(rows)} rows", highlight=False)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(query)
