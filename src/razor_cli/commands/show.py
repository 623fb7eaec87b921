"""`razor show`: the report of a recorded run, as razor-run printed it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How else a run is printed."""

    JSON = "json"
    MD = "md"


def show(
    run: Annotated[
        str, typer.Argument(help="a run's folder, the beginning of its id, or `latest`")
    ] = "latest",
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = Path("outputs"),
    form: Annotated[
        Format | None, typer.Option("--format", help="json or md, for programs and pages")
    ] = None,
) -> None:
    """Print the report of a recorded run; nothing is computed."""
    from razor_cli.printing import note, put
    from razor_cli.report.terminal import print_report
    from razor_cli.runs.known import find_run
    from razor_cli.runs.voucher import flaw
    from razor_cli.screen import Screen

    chosen = find_run(output_dir, run, note)
    if form is None:
        print_report(Screen(), chosen)
    else:
        from razor_cli.report.exported import as_json, as_markdown

        put(as_json(chosen) if form is Format.JSON else as_markdown(chosen))
    if damage := flaw(chosen.folder, (), whole=True):
        note(damage)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(show)
