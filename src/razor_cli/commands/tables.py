"""`razor tables`: the papers' tables and figures from recorded runs, published numbers beside the measured
ones.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from razor_cli.commands.options import CHECK
from razor_cli.printing import note, put, say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from razor_cli.runs.folder import Run

HOME = Path("outputs")  # where nobody said otherwise: without a run the published numbers stand alone
SCORES = "scores"
WIDE = 1200  # letters of a line; what is longer is no table on any terminal
JSON = "json"  # printed only
READ_ALL = ("measured", "verdicts")  # tables of whatever was measured, or of whatever a bound is about


def tables(
    name: Annotated[
        str | None,
        typer.Argument(help="which table, all, or scores: a score file; without one they are listed"),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = HOME,
    form: Annotated[
        str | None,
        typer.Option("--format", help="print one form (md, csv, tex, html, json) instead of writing all"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the files, default OUTPUT_DIR/tables; of scores the file")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(help="read a score file instead of the runs below OUTPUT_DIR")
    ] = None,
    into: Annotated[
        Path | None, typer.Option(help="write a Markdown page's tables, between its markers, anew")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help=CHECK)] = False,
) -> None:
    """Lay recorded runs beside the published numbers; what was not run is named, with the command that runs
    it.
    """
    from razor_cli.runs.known import known_runs, no_runs
    from razor_cli.tables.score_file import load
    from razor_cli.writable import require_writable

    if name is None and into is None:
        _list()
        return
    _refuse(name, form, into)
    if not scores and output_dir != HOME and not output_dir.is_dir():
        raise no_runs(output_dir)
    if form is None:
        require_writable(*_goal(name, into, out, output_dir))
    if scores:
        _answer(load(scores), name, form, into, out, output_dir)
        return
    tell = _Once()
    for part, wanted in _parts(name).items():
        with known_runs(output_dir, tell, rows=True, check=check, wanted=wanted) as known:
            _answer(known.runs, name, form, into, out, output_dir, of_all=part, tell=tell)
        check = False


def _parts(name: str | None) -> Mapping[tuple[str, ...], Callable[[str, str], bool] | None]:
    """Return what is made from one reading of the runs, and which scores it reads, for what is asked of the
    index; None: every one. Of all tables few read more than the others.
    """
    from razor_cli.tables.registry import ALL, TABLES
    from razor_cli.tables.scores_read import is_read

    if name == ALL:
        return {tuple(t for t in TABLES if t not in READ_ALL): is_read, READ_ALL: None}
    return {(): is_read if name not in (None, *READ_ALL) else None}


class _Once:
    """Tell each note once."""

    def __init__(self) -> None:
        self.told: set[str] = set()

    def __call__(self, text: str) -> None:
        if text not in self.told:
            self.told.add(text)
            note(text)


def _answer(
    every: Sequence[Run],
    name: str | None,
    form: str | None,
    into: Path | None,
    out: Path | None,
    home: Path,
    *,
    of_all: tuple[str, ...] = (),
    tell: Callable[[str], None] = note,
) -> None:
    """Print or write what was asked for, from runs; of all tables those of `of_all`, or all."""
    from razor_cli.tables.as_json import as_json
    from razor_cli.tables.base import render
    from razor_cli.tables.index import INDEX
    from razor_cli.tables.registry import ALL, TABLES, builder
    from razor_cli.tables.selection import of_this_format

    runs, notes = of_this_format(every)
    for left_out in notes:
        tell(left_out)
    if into is not None:
        _fill(into, runs)
    elif name == SCORES:
        _save(out or home / "tables" / "scores.csv.gz", runs)
    elif form is not None:
        document = builder(str(name))(runs)
        put(as_json(document) if form == JSON else render(document, form))
    else:
        folder = out or home / "tables"
        for each in (of_all or TABLES) if name == ALL else [str(name)]:
            written, text, undrawn = write(each, runs, folder)
            if name != ALL:
                put(f"{_on_terminal(text, str(folder / f'{each}.html'))}\n")
            for figure in undrawn:
                note(figure)
            say(f"written: {', '.join(map(str, written))}")
        if of_all in ((), READ_ALL):  # they come last
            say(f"all tables of the folder: {folder / INDEX}")


def _on_terminal(text: str, page: str) -> str:
    """Return a table's Markdown, or of one with lines that no terminal shows its titles and notes."""
    lines = text.splitlines()
    if max(map(len, lines)) <= WIDE:
        return text
    kept = [line for line in lines if not line.startswith("|")]
    short = re.sub(r"\n{3,}", "\n\n", "\n".join(kept))
    return f"{short}\n\nToo wide to be printed here: open {page}, or print all of it with --format md\n"


def _list() -> None:
    from razor_cli.tables.registry import ALL, TABLES

    width = max(map(len, TABLES))
    for key, (what, *_) in TABLES.items():
        typer.echo(f"{key:<{width}}  {what}")
    typer.echo(f"{ALL:<{width}}  all of them, written and not printed")
    typer.echo(f"{SCORES:<{width}}  what they read of the runs, in one small file, for --scores")


def _refuse(name: str | None, form: str | None, into: Path | None) -> None:
    """Raise ConfigError for what cannot be asked for."""
    from razor_cli.errors import ConfigError, nearest
    from razor_cli.tables.base import FORMS
    from razor_cli.tables.registry import ALL, TABLES

    known = (*TABLES, ALL, SCORES)
    if into is not None and name is not None:
        raise ConfigError(
            "--into writes the tables that the page's markers name", found=name, fix=f"leave {name} out"
        )
    if name is not None and name not in known:
        near = nearest(name, known)
        raise ConfigError(
            f"there is no table '{name}'",
            allowed=", ".join(known),
            fix=f"did you mean {near[0]}?" if near else None,
        )
    if form is not None and form not in (*FORMS, JSON):
        raise ConfigError(f"--format {form}: there is no such form", allowed=", ".join((*FORMS, JSON)))
    if form is not None and name not in TABLES:
        raise ConfigError(
            "--format prints one table", allowed=", ".join(TABLES), found=name, fix="leave --format out"
        )


def _goal(name: str | None, into: Path | None, out: Path | None, output_dir: Path) -> tuple[Path, str]:
    """Return the folder that will be written to, and the option that names it."""
    if into is not None:
        return into.parent, "--into"
    folder = out or output_dir / "tables"
    return (folder.parent if name == SCORES and out else folder), "--out" if out else "--output-dir"


def _fill(page: Path, runs: Sequence[Run]) -> None:
    from razor_cli.errors import UserError
    from razor_cli.runs.folder import write_atomic
    from razor_cli.tables.in_page import filled, names

    if not page.is_file():
        raise UserError(f"--into {page}: there is no such file")
    text = page.read_text(encoding="utf-8")
    if not (found := names(text)):
        raise UserError(
            f"--into {page}: no table's marker stands there",
            fix="write <!-- razor tables NAME --> and <!-- end -->",
        )
    write_atomic(page, filled(text, runs))
    say(f"written: {page} ({', '.join(found)})")


def _save(path: Path, runs: Sequence[Run]) -> None:
    from razor_cli.tables.score_file import save

    count = save(path, runs)
    say(f"written: {path} ({count} of {len(runs)} runs)")


def write(name: str, runs: Sequence[Run], folder: Path) -> tuple[list[Path], str, list[str]]:
    """Write a table in every form, its figures, and the index of the folder's tables; return the table's
    files, its Markdown, and notes.
    """
    from razor_cli.runs.folder import write_atomic
    from razor_cli.tables.base import FORMS, render
    from razor_cli.tables.index import write_index
    from razor_cli.tables.plots import draw_all
    from razor_cli.tables.registry import builder

    document = builder(name)(runs)
    folder.mkdir(parents=True, exist_ok=True)
    figures, undrawn = draw_all(name, folder, runs)
    shown = [file.name for file in figures if file.suffix == ".svg"]
    for ending in FORMS:
        write_atomic(folder / f"{name}.{ending}", render(document, ending, shown))
    write_index(folder)
    return [folder / f"{name}.{e}" for e in FORMS] + figures, render(document, "md"), undrawn


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(tables)
