"""`razor tables`: the papers' tables from recorded runs, published numbers beside the measured ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TABLES = {"table3": "RAZOR Table 3: M1 to M5 of every method, full precision, 8 and 4 bit"}


def tables(
    name: Annotated[str | None, typer.Argument(help="which table; without one they are listed")] = None,
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = Path("outputs"),
    form: Annotated[
        str | None, typer.Option("--format", help="print one form (md, csv, tex, html) instead of writing all")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="folder for the files; default OUTPUT_DIR/tables")] = None,
) -> None:
    """Lay recorded runs beside the published numbers; what was not run is named, with the command that runs it."""
    from razor_cli.errors import ConfigError, nearest
    from razor_cli.results import complete_runs, write_atomic
    from razor_cli.tables.base import FORMS, render
    from razor_cli.tables.table3 import build

    if name is None:
        for key, what in TABLES.items():
            typer.echo(f"{key}  {what}")
        return
    if name not in TABLES:
        near = nearest(name, TABLES)
        raise ConfigError(
            f"there is no table '{name}'", allowed=", ".join(TABLES), fix=f"did you mean {near[0]}?" if near else None
        )
    if form is not None and form not in FORMS:
        raise ConfigError(f"--format {form}: there is no such form", allowed=", ".join(FORMS))
    document = build(complete_runs(output_dir))
    if form is not None:
        typer.echo(render(document, form), nl=False)
        return
    folder = out or output_dir / "tables"
    folder.mkdir(parents=True, exist_ok=True)
    for ending in FORMS:
        write_atomic(folder / f"{name}.{ending}", render(document, ending))
    typer.echo(render(document, "md"))
    typer.echo(f"written: {', '.join(str(folder / f'{name}.{e}') for e in FORMS)}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tables)
