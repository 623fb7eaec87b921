"""`razor propositions`: the RAZOR paper's propositions measured on a model, or printed as recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def propositions(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="settings as for razor-run: target=NAME,NAME method=razor,razor/paper ..."),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="where rows are kept")] = Path("outputs"),
    recorded: Annotated[
        bool, typer.Option("--recorded", help="measure nothing, print what is recorded")
    ] = False,
    form: Annotated[str | None, typer.Option("--format", help="print one form (md, csv, tex, html)")] = None,
) -> None:
    """Say of each proposition whether it HOLDS, DOES NOT HOLD or stays UNDECIDED, with numbers.

    Without words the grid of conf/experiment/propositions.yaml is measured: about a minute a job. What is
    recorded is not computed again.
    """
    from razor_cli.errors import ConfigError
    from razor_cli.printing import note, put
    from razor_cli.runs.folder import write_atomic
    from razor_cli.tables.base import FORMS, render
    from razor_cli.tables.index import write_index
    from razor_cli.tables.propositions import build, read_rows
    from razor_cli.writable import require_writable

    if form is not None and form not in FORMS:
        raise ConfigError(f"--format {form}: there is no such form", allowed=", ".join(FORMS))
    folder = output_dir / "tables"
    if form is None:
        require_writable(folder, "--output-dir")
    if not recorded and not measure([*(words or []), f"output_dir={output_dir}"]):
        return
    document = build(read_rows(output_dir, note))
    if form is not None:
        put(render(document, form))
        return
    folder.mkdir(parents=True, exist_ok=True)
    for ending in FORMS:
        write_atomic(folder / f"propositions.{ending}", render(document, ending))
    write_index(folder)
    put(render(document, "md") + "\n")


def measure(words: list[str]) -> bool:
    """Check every job of a command line, then measure one after the other; with dry_run=true they are listed,
    and False is returned.
    """
    from razor_cli.config.worded import reading
    from razor_cli.errors import ConfigError
    from razor_cli.grid import points as grid
    from razor_cli.grid.blocks import chosen_blocks
    from razor_cli.printing import say
    from razor_cli.progress import Progress
    from razor_cli.screen import Screen
    from razor_cli.stopping import keeping

    refuse_settled(words[:-1])
    arguments = ["experiment=propositions", *words]
    with reading(arguments):
        found = chosen_blocks(arguments)
        assert found is not None
        asked, jobs, refused = grid.settled(arguments, *found)
    if any(job.experiment.dry_run for job in jobs) or "dry_run=true" in words:
        for job in jobs:
            say(f"[{job.number}/{len(jobs) + len(refused)}] {job.experiment.model.name} · {job.label}")
        if refused:
            raise grid.refusal(asked, jobs, refused)
        say("dry_run: nothing was started")
        return False
    if refused:
        raise grid.refusal(asked, jobs, refused)
    if not jobs:
        raise ConfigError("no proposition is left to measure", fix="target= and method= narrow the grid")
    from razor_cli.studies.propositions_run import measured

    console = Screen(stderr=True)  # the table on standard output can be redirected
    done: list[Path] = []
    for job in jobs:
        console.print(f"[{job.number}/{len(jobs)}] {job.label}", highlight=False)
        with keeping(lambda: f"{len(done)} of {len(jobs)} jobs are kept; the same command goes on"):
            path, computed = measured(job.experiment, Progress(console).stage)
        done.append(path)
        console.print(f"{'written' if computed else 'recorded already'}: {path}", highlight=False)
    return True


def refuse_settled(words: list[str]) -> None:
    """Raise ConfigError for settings that are settled here, or that nothing here would heed."""
    from razor_cli.errors import ConfigError

    settled = {
        "grid": "leave it out; target= and method= narrow the grid",
        "experiment": "leave it out; target= and method= narrow the grid",
        "output_dir": "--output-dir DIR",
        "jobs": "leave it out: one job is measured after the other",
        "fail_fast": "leave it out: the first failure ends it",
        "targets": "name them: target=A,B",
    }
    for word in words:
        key = word.lstrip("+").partition("=")[0]
        if key in settled:
            raise ConfigError(f"{word}: not a setting of razor propositions", fix=settled[key])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(propositions)
