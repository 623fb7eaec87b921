"""`razor tables`: the papers' tables and figures from recorded runs, published numbers beside the measured
ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from razor_cli.runs.folder import Run


def tables(
    name: Annotated[
        str | None, typer.Argument(help="which table, or all; without one they are listed")
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = Path("outputs"),
    form: Annotated[
        str | None,
        typer.Option("--format", help="print one form (md, csv, tex, html) instead of writing all"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the files; default OUTPUT_DIR/tables")] = None,
) -> None:
    """Lay recorded runs beside the published numbers; what was not run is named, with the command that runs
    it.
    """
    from razor_cli.errors import ConfigError, nearest
    from razor_cli.runs.folder import complete_runs
    from razor_cli.tables.base import FORMS, render
    from razor_cli.tables.registry import ALL, TABLES, builder
    from razor_cli.tables.selection import of_this_format

    if name is None:
        width = max(map(len, TABLES))
        for key, (what, *_) in TABLES.items():
            typer.echo(f"{key:<{width}}  {what}")
        typer.echo(f"{ALL:<{width}}  all of them, written and not printed")
        return
    if name not in (*TABLES, ALL):
        near = nearest(name, TABLES)
        raise ConfigError(
            f"there is no table '{name}'",
            allowed=", ".join((*TABLES, ALL)),
            fix=f"did you mean {near[0]}?" if near else None,
        )
    if form is not None and form not in FORMS:
        raise ConfigError(f"--format {form}: there is no such form", allowed=", ".join(FORMS))
    if form is not None and name == ALL:
        raise ConfigError(
            "--format prints one table", allowed=", ".join(TABLES), found=ALL, fix="leave --format out"
        )
    runs, notes = of_this_format(complete_runs(output_dir))
    for note in notes:
        typer.echo(note, err=True)
    if form is not None:
        typer.echo(render(builder(name)(runs), form), nl=False)
        return
    folder = out or output_dir / "tables"
    for each in TABLES if name == ALL else [name]:
        written, text = write(each, runs, folder)
        if name != ALL:
            typer.echo(text)
        typer.echo(f"written: {', '.join(map(str, written))}")


def write(name: str, runs: Sequence[Run], folder: Path) -> tuple[list[Path], str]:
    """Write a table in every form, and its figures; return the files and the Markdown."""
    from razor_cli.runs.folder import write_atomic
    from razor_cli.tables.base import FORMS, render
    from razor_cli.tables.plots import draw_all
    from razor_cli.tables.registry import builder

    document = builder(name)(runs)
    folder.mkdir(parents=True, exist_ok=True)
    for ending in FORMS:
        write_atomic(folder / f"{name}.{ending}", render(document, ending))
    return [folder / f"{name}.{e}" for e in FORMS] + draw_all(name, folder, runs), render(document, "md")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tables)
