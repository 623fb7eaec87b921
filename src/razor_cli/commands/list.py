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
    from rich.table import Table

DEFAULTS_WIDTH = 70
WIDE = 160  # columns of a terminal that has room for settings beside what an option is
SHOWN = 4  # options that the list of everything names


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


def table(kind: Kind, roots: Sequence[Path], *, model: str | None = None, wide: bool = False) -> Table:
    """Return the options of one group: name, what it is, where it is `wide` the settings it makes first; of
    methods also the families that they serve. `*` marks the default, `+` one of the user's.

    Of methods only those that serve `model`, where one is named; one that cannot be read here stays. Raises
    ConfigError for an unknown model.
    """
    from rich.text import Text

    from razor_cli.report.cells import table as empty

    group = kind.group
    names = groups(roots)[group] if model is None else _serving(model, roots)
    is_method = kind is Kind.METHODS
    shown = empty(None)
    shown.add_column(group, no_wrap=True)
    shown.add_column("")
    if is_method:
        shown.add_column("serves")
    shown.add_column("what it is", ratio=2)
    if wide:
        shown.add_column("sets", ratio=1)
    for name in names:
        file = first_file(roots, group, name)
        cells = [name, _mark(name == default_option(group), file)]
        cells += [_served(name, roots)] if is_method else []
        cells += [description(file), *([settings(_own(file))] if wide else [])]
        shown.add_row(*map(Text, cells))
    return shown


def _served(method: str, roots: Sequence[Path]) -> str:
    from razor_cli.config.served import families_served

    found = families_served(method, roots)
    return "?" if found is None else ", ".join(found)


def _serving(model: str, roots: Sequence[Path]) -> list[str]:
    """Return the methods that serve a model, and those of which that cannot be told."""
    from razor_cli.config.served import like, serves

    specs = like(_named("model", model, roots), roots)
    return [name for name in groups(roots)["method"] if serves(name, specs, roots) is not False]


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
            or value is None
            or value is False
            or value == []
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


def overview(roots: Sequence[Path]) -> Table:
    """Return a line for each group: how many options it has, some of them, and what lists them all."""
    from rich.text import Text

    from razor_cli.report.cells import table as empty

    shown = empty(None)
    shown.add_column("command", no_wrap=True)
    shown.add_column("there are", justify="right")
    shown.add_column("such as (* is the default)")
    for kind in CHOSEN:
        names, default = groups(roots)[kind.group], default_option(kind.group)
        first = sorted(names, key=lambda name: (name != default, "/" in name))[:SHOWN]
        said = [f"{kind.group}={name}{' *' if name == default else ''}" for name in first]
        some = ", ".join(said) + (" …" if len(names) > SHOWN else "")
        shown.add_row(*map(Text, (f"razor list {kind.value}", str(len(names)), some)))
    return shown


def whole(kind: Kind, name: str, roots: Sequence[Path]) -> str:
    """Return a file with all its settings explained, after those it builds on. Raises ConfigError for an
    unknown name.
    """
    name = _named(kind.group, name, roots)
    texts = _texts(first_file(roots, kind.group, name), roots)
    if len(texts) > 1:
        texts.append(
            "# What stands further down goes over what stands above; all of it together as it would run:\n"
            f"#   razor-run --cfg job {kind.group}={name}"
        )
    return "\n\n".join(texts)


def _named(group: str, name: str, roots: Sequence[Path]) -> str:
    """Return the present name of an option. Raises ConfigError for one that there is not."""
    options = groups(roots)[group]
    name = renamed.option(group, name)
    if name not in options:
        close = nearest(name, options)
        fix = f"did you mean {' or '.join(close)}?" if close else None
        raise ConfigError(
            f"{group}={name}: there is no such {group}", allowed=", ".join(options), found=name, fix=fix
        )
    return name


def _texts(file: Path, roots: Sequence[Path]) -> list[str]:
    """Return the texts of the files that make up an option, each below its name; one that does nothing but
    ask for a family's file is left out.
    """
    texts: list[str] = []
    for layer in layers(file):
        if layer != file:
            texts += _texts(layer, roots)
        elif values(file):
            root = next((r for r in roots if file.is_relative_to(r)), file.parent)
            text = file.read_text(encoding="utf-8").rstrip()
            texts.append(f"# {file.relative_to(root).as_posix()}\n{text}")
    return texts


def _kind(said: str) -> Kind:
    if said in list(Kind):
        return Kind(said)
    close = nearest(said, list(Kind))
    raise ConfigError(
        f"razor list {said}: nothing of that name can be listed",
        allowed=", ".join(Kind),
        found=said,
        fix=f"did you mean razor list {close[0]}?" if close else "razor list",
    )


def register(app: typer.Typer) -> None:
    """Add the command to `razor`."""
    import typer

    from razor_cli.commands.list_runs import print_runs

    @app.command("list", help="What can be chosen; with a NAME, its file with every setting explained.")
    def list_options(
        kind: str | None = typer.Argument(
            None, help=f"What to list: {', '.join(Kind)}; a line for each if left out.", show_default=False
        ),
        name: str | None = typer.Argument(None, help="One of them, e.g. `razor list methods razor`."),
        model: str | None = typer.Option(None, help="only the methods that serve this model"),
        config_dir: str | None = typer.Option(None, help="a folder of yours with more, laid out like conf/"),
        output_dir: Path = typer.Option(Path("outputs"), help="where runs are recorded"),  # noqa: B008
    ) -> None:
        from razor_cli.screen import Screen

        chosen = None if kind is None else _kind(kind)
        if model is not None and (chosen is not Kind.METHODS or name is not None):
            what = "--model chooses among methods"
            raise ConfigError(what, fix=f"razor list methods --model {model}")
        if chosen is Kind.RUNS:
            print_runs(output_dir, name)
            return
        roots, console = roots_of(config_dir), Screen(highlight=False)
        if chosen is None:
            console.print(overview(roots))
            console.print("razor list runs: those that are recorded")
            return
        if name is not None:
            print(whole(chosen, name, roots))
            return
        yours = ", + is yours" if config_dir else ""
        console.print(f"{chosen.value} ({chosen.group}=NAME, * is the default{yours})")
        console.print(table(chosen, roots, model=model, wide=console.width >= WIDE))
        console.print(f"razor list {chosen.value} NAME: every setting of one, explained")
        if config_dir and chosen is Kind.METHODS:
            console.print("?: a class of yours is not loaded to be listed, so what it serves is not known")
