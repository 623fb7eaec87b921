"""Entry points of the two programs: `razor-run` runs experiments, `razor` looks at what they left.

Nothing here imports torch, and help is printed before Hydra is imported: both answer in well under a second.
"""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from razor_cli import __version__
from razor_cli.commands.usage import help_text
from razor_cli.config.output_place import as_options, as_settings
from razor_cli.config.overrides import is_on
from razor_cli.errors import ConfigError, report
from razor_cli.printing import say, steady_streams
from razor_cli.stopping import Stopped, last_words, orderly
from razor_cli.streams import forgiving, unwritten

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130
VERSION = f"razor-cli {__version__}"
RUN_KEPT = (
    "recorded runs are kept; the same command goes on (a training from its last epoch, several targets "
    "from the last edit, any other run from its beginning)"
)
KEPT = {  # subcommand: what it keeps when it is stopped, and how to go on
    "tables": "every table is the old one or the new one; the same command writes the rest",
    "propositions": "what was measured is kept; the same command goes on",
    "patch": "no output is half written, and no undo file stays without its weights; start it again",
    "data": "nothing half fetched or half written is kept; start it again",
}
NOTHING_CHANGED = "nothing was changed; start it again"
COMMANDS = {  # subcommand: (module, one line); the module is imported when its command is called
    "list": (
        "razor_cli.commands.list",
        "what can be chosen: models, methods ...; which runs are recorded",
    ),
    "show": ("razor_cli.commands.show", "one recorded run: its table, its edit, what it cost"),
    "run-again": ("razor_cli.commands.run_again", "a recorded run once more, and whether it gives the same"),
    "judge": ("razor_cli.commands.judge", "recorded runs against other bounds than they were judged by"),
    "query": ("razor_cli.commands.query", "SQL over the scores of all recorded runs"),
    "tables": ("razor_cli.commands.tables", "tables of the papers, published and measured side by side"),
    "propositions": ("razor_cli.commands.propositions", "the RAZOR paper's propositions, measured"),
    "patch": ("razor_cli.commands.patch", "show, verify, apply and revert a patch"),
    "check": ("razor_cli.commands.check", "the contract of methods, asked of your own"),
    "doctor": ("razor_cli.commands.doctor", "what is here and missing; --acceptance checks real weights"),
    "data": ("razor_cli.commands.data", "fetch a data set once, and look at what a folder holds"),
}


def parse(arguments: Sequence[str]) -> Namespace:
    """Return the flags and overrides of `razor-run`; everything that is no flag is an override."""
    parser = ArgumentParser(prog="razor-run", add_help=False)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument("--package", "-p")
    parser.add_argument(
        "--info",
        "-i",
        nargs="?",
        const="all",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
    )
    parser.add_argument("--config-dir", "-cd")
    parser.add_argument("--output-dir")
    flags = parser.parse_intermixed_args(arguments)
    flags.overrides = as_settings(flags.overrides, flags.output_dir, multirun=flags.multirun)
    return flags


def run_command(arguments: Sequence[str]) -> int:
    """Do what a `razor-run` command line says and return its exit code."""
    flags = parse(arguments)
    if flags.help or flags.version:
        print(VERSION if flags.version else help_text())
        return 0
    debug = is_on("debug", flags.overrides)

    def failed(error: Exception) -> int:
        from razor_cli.config.worded import at_work

        return report(at_work(error, [*flags.overrides, "output_dir=outputs"]), debug=debug)

    return _in_order(lambda: _launched(flags, debug), RUN_KEPT, failed)


def _launched(flags: Namespace, debug: bool) -> int:
    from razor_cli import launch
    from razor_cli.config import command_line

    _refuse_idle(flags)
    if not (flags.cfg or flags.info) and (asked := _grid(flags)):
        is_several = flags.multirun or bool(asked[0])
        return launch.run_grid(flags.overrides, *asked, flags.config_dir, multirun=is_several, debug=debug)
    request = command_line.read(flags.overrides, multirun=flags.multirun, extra=flags.config_dir)
    if flags.cfg or flags.info:
        return launch.show(request, flags)
    if not flags.multirun:
        return launch.run_once(request)
    from razor_cli.sweep import run_sweep

    return run_sweep(request, fail_fast=is_on("fail_fast", flags.overrides), debug=debug)


def _refuse_idle(flags: Namespace) -> None:
    """Raise ConfigError for flags that would be passed over."""
    idle = [
        (flags.multirun and flags.run, "--run and --multirun", "give one of them"),
        (flags.multirun and (flags.cfg or flags.info), "-m with --cfg or --info", "leave -m out"),
        (flags.cfg and flags.info, "--cfg and --info", "give one of them"),
        (flags.resolve and not flags.cfg, "--resolve without --cfg", "add --cfg job"),
        (flags.package is not None and not flags.cfg, "--package without --cfg", "add --cfg job"),
    ]
    for wrong, what, fix in idle:
        if wrong:
            raise ConfigError(f"{what}: they do not go together", fix=fix)


def _grid(flags: Namespace) -> tuple[str, list[dict[str, list[Any]]]] | None:
    """Return the name and the blocks of the grid that is to be run, or listed; None for a single run or a
    sweep.
    """
    if any(o.lstrip("+").startswith("experiment=") for o in flags.overrides):
        from razor_cli.config.worded import reading
        from razor_cli.grid.blocks import chosen_blocks

        with reading(flags.overrides):
            found = chosen_blocks(flags.overrides, flags.config_dir)
        if found and flags.multirun:
            raise ConfigError(
                f"-m experiment={found[0]}: this experiment is a grid, which runs without -m",
                allowed=f"razor-run experiment={found[0]} KEY=A,B",
                fix="leave -m out; grid=[] switches the grid off",
            )
        if found:
            return found
    return ("", [{}]) if is_on("dry_run", flags.overrides) else None


def _in_order(work: Callable[[], int], kept: str, failed: Callable[[Exception], int]) -> int:
    """Do the work and return its exit code; a stop ends it with one line, a failure with one line or the
    traceback on demand. What a killed process left in this folder is settled first.
    """
    try:
        with orderly() as watch:
            try:
                _settle_here()
                return work()
            except Exception as error:
                if watch.stop is not None:  # a library made a failure of its own of it
                    raise watch.stop from error
                return failed(error)
    except (KeyboardInterrupt, Stopped) as stop:
        line, code = last_words(stop, kept)
        print(line, file=sys.stderr)
        return code


def _settle_here() -> None:
    from razor_cli.atomic import settle

    for path in settle(Path()):
        say(f"completed what a killed command had begun to write: {path}", file=sys.stderr)


def _end(command: Callable[[Sequence[str]], int]) -> NoReturn:
    """Leave with the command's exit code; a reader that went away (`| head`) is no failure of ours, output
    that could not be written is.
    """
    streams = forgiving()
    steady_streams()
    code = command(sys.argv[1:])
    if lost := unwritten(streams):
        print(f"output was lost: {lost}; what was to be recorded is recorded", file=sys.stderr)
        code = code or 1
    sys.exit(code)


def razor_run() -> NoReturn:
    """Entry point of `razor-run`."""
    _end(run_command)


def build_app(wanted: str | None) -> typer.Typer:
    """Return the `razor` program with only the wanted command's module imported; the others are names with a
    line.
    """
    import typer

    app = typer.Typer(
        name="razor",
        help="Look at recorded runs, and apply or revert their patches. `razor-run` makes them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    def said(asked: bool) -> None:
        if asked:
            print(VERSION)
            raise typer.Exit

    @app.callback()
    def root(
        debug: bool = typer.Option(False, "--debug", help="Show the traceback of a failure."),
        version: bool = typer.Option(False, "--version", callback=said, is_eager=True, help="Say which."),
    ) -> None:
        pass

    for name, (module, line) in COMMANDS.items():
        if name != wanted:
            app.command(name, help=line)(_named_only)
            continue
        loaded = importlib.import_module(module)
        if hasattr(loaded, "register"):
            loaded.register(app)
        else:
            app.add_typer(loaded.app, name=name)
    return app


def _named_only() -> None:
    """Stand for a command in the list of commands."""


def razor_command(arguments: Sequence[str]) -> int:
    """Do what a `razor` command line says and return its exit code."""
    arguments = as_options(arguments)
    wanted = next((a for a in arguments if not a.startswith("-")), None)

    def failed(error: Exception) -> int:
        from razor_cli.config.worded import at_work

        found = at_work(error, _as_words(arguments))
        return report(found, debug="--debug" in arguments, how="razor --debug")

    return _in_order(lambda: _called(wanted, arguments), KEPT.get(wanted or "", NOTHING_CHANGED), failed)


def _called(wanted: str | None, arguments: Sequence[str]) -> int:
    try:
        build_app(wanted)(list(arguments), prog_name="razor")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        if code == INTERRUPTED:  # what typer makes of it
            raise KeyboardInterrupt from end
        return code
    return 0


def _as_words(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `razor` as KEY=VALUE, an option and its value as one."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return [f"{a}={after}" if a.startswith("--") and "=" not in a else a for a, after in pairs]


def razor() -> NoReturn:
    """Entry point of `razor`."""
    _end(razor_command)
