"""`razor check`: the contract of methods, asked of those in a folder of one's own, or of any one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from razor_cli.acceptance.checks import Check
    from razor_cli.config.settings import Experiment

IDLE = ("dry_run", "jobs", "grid", "force", "exit_on", "fail_fast", "output_dir")
SIZES = {  # few examples, as nothing here is a score
    "n_forget": 12,
    "n_retain": 48,
    "n_validation_forget": 12,
    "n_validation_retain": 36,
    "n_evaluation_forget": 12,
    "n_evaluation_retain": 36,
    "n_suite": 12,
}


def check(
    words: Annotated[
        list[str] | None,
        typer.Argument(help="settings as for razor-run: method=NAME allow_code=PACKAGE model=sd_tiny ..."),
    ] = None,
    config_dir: Annotated[
        str | None, typer.Option(help="a folder of yours, laid out like conf/: all methods in it are asked")
    ] = None,
) -> None:
    """Ask of each method what every method must do: leave model and process as they were, change what it
    names, follow its seed, look at no evaluation picture. Five edits on few pictures; nothing is recorded.

    Exit code 1 where a method does not. With method=NAME one is asked, else all of --config-dir.
    """
    from razor_cli.screen import Screen

    console, failed, given = Screen(), 0, list(words or [])
    _refuse_idle(given)
    for method in _methods(given, config_dir):
        with tempfile.TemporaryDirectory() as folder, _named(method, config_dir):
            found = list(_rows([*given, *method], config_dir, Path(folder)))
        _print(console, found, " ".join([*given, *method]))
        failed += any(c.status.value == "fail" for c in found)
    if failed:
        raise typer.Exit(1)


def _refuse_idle(words: Sequence[str]) -> None:
    """Raise ConfigError for words that say how runs are started or kept, which nothing here is."""
    from razor_cli.errors import ConfigError

    for word in words:
        key = word.lstrip("+").partition("=")[0]
        if key in IDLE:
            raise ConfigError(
                f"{word}: not a setting of razor check, which edits and records nothing",
                found=word,
                fix="leave it out; method=NAME chooses one method",
            )


@contextmanager
def _named(method: Sequence[str], config_dir: str | None) -> Iterator[None]:
    """Say of a refusal which of the folder's files it is about."""
    from razor_cli.errors import ConfigError

    try:
        yield
    except ConfigError as error:
        if not method:
            raise
        file = Path(config_dir or "") / "method" / f"{method[0].partition('=')[2]}.yaml"
        what = f"{file}: {error.what}"
        raise ConfigError(what, allowed=error.allowed, found=error.found, fix=error.fix) from error


def _methods(words: Sequence[str], config_dir: str | None) -> list[list[str]]:
    """Return the word that chooses each method to be asked; none is needed where the words choose one."""
    from razor_cli.config.conf_files import conf_dir, groups, roots_of
    from razor_cli.errors import ConfigError

    if any(w.lstrip("+").startswith("method=") for w in words):
        return [[]]
    ours = set(groups([conf_dir()])["method"])
    own = [o for o in groups(roots_of(config_dir))["method"] if o not in ours]
    if not own:
        what = "no method is named" if config_dir is None else f"--config-dir {config_dir} has no method"
        fix = "method=NAME, or --config-dir DIR with DIR/method/NAME.yaml"
        raise ConfigError(f"razor check: {what}", allowed="one method, or a folder of yours", fix=fix)
    return [[f"method={name}"] for name in own]


def _rows(words: Sequence[str], config_dir: str | None, folder: Path) -> list[Check]:
    from razor_cli.acceptance.method_contract import checks
    from razor_cli.bench import Bench, sets_of
    from razor_cli.config import command_line
    from razor_cli.config.compose import checked
    from razor_cli.engine.lab import Lab, shared_cache

    experiment = _small(checked(command_line.read([*words], extra=config_dir)), words, folder)
    bench, cache = Bench(experiment), shared_cache(folder)
    sets = sets_of(experiment, bench)

    def lab(seed: int) -> Lab:
        return Lab(family=bench.family, sets=sets, settings=experiment.metrics, cache=cache, seed=seed)

    return [*_settings(words, config_dir), *checks(experiment.method, lab)]


def _small(experiment: Experiment, words: Sequence[str], folder: Path) -> Experiment:
    """Return the experiment with few examples, but for those that the words ask for."""
    data: Any = experiment.data
    given = {w.lstrip("+").partition("=")[0] for w in words}
    names = {f.name for f in fields(data)}
    few = {k: n for k, n in SIZES.items() if k in names and f"data.{k}" not in given}
    return replace(experiment, data=replace(data, **few), output_dir=folder)


def _settings(words: Sequence[str], config_dir: str | None) -> list[Check]:
    """Return the row on the settings of the method's file: each of them says what it does."""
    from razor_cli.acceptance.checks import judged
    from razor_cli.config.conf_files import answers, comments, description, first_file, roots_of

    chosen = [w.partition("=")[2].strip("'\"") for w in words if w.lstrip("+").startswith("method=")]
    file = first_file(roots_of(config_dir), "method", chosen[-1])
    rows = [row for part in (file, *answers(file)) for row in comments(part)]
    silent = [key for key, _, comment in rows if not comment and key != "_target_"]
    silent += [] if description(file) else ["the file itself: a comment at its head"]
    return [
        judged(
            "every setting says what it does",
            not silent,
            expected="a comment each",
            found=", ".join(silent) or "a comment each",
            why="`razor list methods` shows nothing else",
            fix=f"in {file.name}: KEY: VALUE # what more of it does",
        )
    ]


def _print(console: Any, found: Sequence[Check], title: str) -> None:
    """Print the rows of one method, then what failed with its reason and remedy."""
    from rich.table import Table
    from rich.text import Text

    styles = {"pass": "green", "fail": "bold red", "skipped": "yellow"}
    table = Table("", "asked", "found", box=None, pad_edge=False, title=title, title_justify="left")
    for row in found:
        table.add_row(
            Text(row.status.value, style=styles[row.status.value]), Text(row.name), Text(row.found or row.why)
        )
    console.print(table)
    for row in (r for r in found if r.status.value == "fail"):
        console.print(
            Text(f"{row.name}: {row.why}\n  expected: {row.expected}\n  fix: {row.fix}"), soft_wrap=True
        )
    failed = sum(r.status.value == "fail" for r in found)
    console.print(Text(f"{failed} of {len(found)} do not hold" if failed else "the contract holds"))


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(check)
