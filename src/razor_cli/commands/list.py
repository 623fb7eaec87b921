"""`razor list`: what can be chosen, read from the configuration's own files."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.config import renamed
from razor_cli.config.conf_files import (
    answers,
    conf_dir,
    default_option,
    description,
    first_file,
    groups,
    layers,
    roots_of,
    values,
)
from razor_cli.errors import ConfigError, nearest

if TYPE_CHECKING:
    import typer

DEFAULTS_WIDTH = 70


class Kind(StrEnum):
    """What can be listed."""

    MODELS = "models"
    SCENARIOS = "scenarios"
    DATA = "data"
    METHODS = "methods"
    QUANTIZATIONS = "quantizations"
    METRICS = "metrics"
    EXPERIMENTS = "experiments"
    RUNS = "runs"  # those that are recorded

    @property
    def group(self) -> str:
        """Return the configuration group."""
        return self.value if self in (Kind.DATA, Kind.METRICS) else self.value.removesuffix("s")


CHOSEN = [kind for kind in Kind if kind is not Kind.RUNS]


def table(kind: Kind, roots: Sequence[Path]) -> str:
    """Return the options of one group, one a line: name, what it is, the settings it makes first; `*` marks
    the default, `+` one of the user's.
    """
    group = kind.group
    default = default_option(group)
    names = groups(roots)[group]
    files = {name: first_file(roots, group, name) for name in names}
    rows = [(f"{group}={name}", _mark(name == default, file), file) for name, file in files.items()]
    named = max(len(name) for name, _, _ in rows)
    said = max(len(description(file)) for _, _, file in rows)
    lines = [
        f"{name:<{named}} {mark} {description(file):<{said}}  {settings(_own(file))}"
        for name, mark, file in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _mark(is_default: bool, file: Path) -> str:
    return "*" if is_default else " " if file.is_relative_to(conf_dir()) else "+"


def _own(file: Path) -> dict[str, Any]:
    """Return what a file sets itself, or by the file of a family that it asks for."""
    return {k: v for part in (file, *answers(file)) for k, v in values(part).items()}


def settings(content: dict[str, Any]) -> str:
    """Return the first settings of a file, as many as fit."""
    shown: list[str] = []
    for key, value in content.items():
        if (
            key in ("_target_", "name", "kind", "family", "grid")
            or value in ([], False)
            or value is None
            or isinstance(value, dict)
        ):
            continue
        text = f"{key}={_shown(value)}"
        if len(" ".join([*shown, text])) > DEFAULTS_WIDTH:
            return " ".join([*shown, "…"])
        shown.append(text)
    return " ".join(shown)


def _shown(value: object) -> str:
    """Return a value as one types it."""
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def whole(kind: Kind, name: str, roots: Sequence[Path]) -> str:
    """Return a file with all its settings explained, after those it builds on. Raises ConfigError for an
    unknown name.
    """
    options = groups(roots)[kind.group]
    name = renamed.option(kind.group, name)
    if name not in options:
        close = nearest(name, options)
        fix = f"did you mean {' or '.join(close)}?" if close else None
        raise ConfigError(
            f"{kind.group}={name}: there is no such {kind.group}",
            allowed=", ".join(options),
            found=name,
            fix=fix,
        )
    return "\n\n".join(_texts(first_file(roots, kind.group, name)))


def _texts(file: Path) -> list[str]:
    """Return the texts of the files that make up an option; one that does nothing but ask for a family's file
    is left out.
    """
    texts: list[str] = []
    for layer in layers(file):
        if layer != file:
            texts += _texts(layer)
        elif values(file):
            texts.append(file.read_text(encoding="utf-8").rstrip())
    return texts


def register(app: typer.Typer) -> None:
    """Add the command to `razor`."""
    import typer

    from razor_cli.commands.list_runs import print_runs

    @app.command("list", help="What can be chosen; with a NAME, its file with every setting explained.")
    def list_options(
        kind: Kind | None = typer.Argument(  # noqa: B008
            None, help="What to list; all of them if left out.", show_default=False
        ),
        name: str | None = typer.Argument(None, help="One of them, e.g. `razor list methods razor`."),
        config_dir: str | None = typer.Option(None, help="a folder of yours with more, laid out like conf/"),
        output_dir: Path = typer.Option(Path("outputs"), help="where runs are recorded"),  # noqa: B008
    ) -> None:
        if kind is Kind.RUNS:
            print_runs(output_dir, name)
            return
        roots = roots_of(config_dir)
        if name is not None and kind is not None:
            print(whole(kind, name, roots))
            return
        for each in CHOSEN if kind is None else [kind]:
            yours = ", + is yours" if config_dir else ""
            print(f"{each.value} ({each.group}=NAME, * is the default{yours})\n{table(each, roots)}\n")
