"""Entry points of the two programs: `razor-run` runs experiments, `razor` looks at what they left.

Nothing here imports torch, and help is printed before Hydra is imported: both answer in well under a second.
"""

from __future__ import annotations

import importlib
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from razor_cli import __version__
from razor_cli.config.conf_files import comments, conf_dir, default_option, groups
from razor_cli.config.overrides import is_on
from razor_cli.errors import ConfigError, report
from razor_cli.printing import say, steady_streams
from razor_cli.stopping import Stopped, last_words, orderly
from razor_cli.streams import forgiving, unwritten

if TYPE_CHECKING:
    import typer

INTERRUPTED = 130
RUN_KEPT = (
    "recorded runs are kept, of this one epochs of a training, edits of a sequence; the same command goes on"
)
KEPT = {  # subcommand: what it keeps when it is stopped, and how to go on
    "tables": "every table is the old one or the new one; the same command writes the rest",
    "propositions": "what was measured is kept; the same command goes on",
    "patch": "no output is half written, and no undo file stays without its weights; start it again",
    "data": "nothing half fetched or half written is kept; start it again",
}
NOTHING_CHANGED = "nothing was changed; start it again"
COMMANDS = {  # subcommand: (module, one line); the module is imported when its command is called
    "list": ("razor_cli.commands.list", "what can be chosen: models, scenarios, data, methods ..."),
    "show": ("razor_cli.commands.show", "one recorded run: its table, its edit, what it cost"),
    "judge": ("razor_cli.commands.judge", "recorded runs against other bounds than they were judged by"),
    "query": ("razor_cli.commands.query", "SQL over the scores of all recorded runs"),
    "tables": ("razor_cli.commands.tables", "tables of the papers, published and measured side by side"),
    "propositions": ("razor_cli.commands.propositions", "the RAZOR paper's propositions, measured"),
    "patch": ("razor_cli.commands.patch", "show, verify, apply and revert a patch"),
    "check": ("razor_cli.commands.check", "the contract of methods, asked of your own"),
    "doctor": ("razor_cli.commands.doctor", "what is here and missing; --acceptance checks real weights"),
    "data": ("razor_cli.commands.data", "fetch a data set once, and look at what a folder holds"),
}
EXAMPLES = """\
usage: razor-run [GROUP=NAME ...] [KEY=VALUE ...] [-m] [--cfg job]

Make a model forget one concept, and prove it.

  razor-run target="Taylor Swift"
      the stand-in model inside the package: nothing to download, about a minute
  razor-run model=clip_vitb32 model.weights=FILE_OR_TAG data=folder data.root=DIR target="Taylor Swift"
      your own model and photographs: DIR/<concept>/*.jpg
  razor-run -m method=razor,slug method.towers=both,vision target="Taylor Swift,Elon Musk"
      a sweep: every combination is a run of its own
  razor-run experiment=table3 seed=0,1,2 dry_run=true
      the jobs of a table of the paper, with time and memory; without dry_run they run, jobs=2 at a time
"""
FLAGS = """\
options
  -m, --multirun     run every combination of comma-separated values
  --cfg job          print the configuration that would run (also: hydra, all), with --resolve, -p PACKAGE
  --info [WHAT]      how the configuration is put together: all, config, defaults, defaults-tree, plugins,
                     searchpath
  --config-dir DIR   a folder of yours with more options, laid out like conf/
  --version, --help

exit codes: 0 done, 1 failure, 2 wrong request, 3 verdict with exit_on=…, 130 interrupted (Ctrl-C),
143 stopped (SIGTERM)
A comma inside a name of a sweep: -m 'target="Downey, Robert",Taylor Swift'
More: `razor list methods razor` prints a file with all its settings explained; `razor --help` lists the
other commands.
"""


def help_text() -> str:
    """Return the help of `razor-run`: commands, groups with their options, keys with their meaning."""
    root = conf_dir()
    available = groups([root])
    width = max(map(len, available))
    lines = []
    for name, options in available.items():
        default = default_option(name)
        named = [f"{o}*" if o == default else o for o in options if "/" not in o]
        variants = [o for o in options if "/" in o]
        more = f"; {len(variants)} variants, {variants[0]} and so on: razor list {name}s" if variants else ""
        lines.append(f"  {name:<{width}}  {', '.join(named)}{more}")
    settings = [row for row in comments(root / "config.yaml") if row[2]]
    wide = max(len(f"{key}={value}") for key, value, _ in settings)
    keys = [f"  {f'{key}={value}':<{wide}}  {comment}" for key, value, comment in settings]
    return "\n".join([EXAMPLES, "groups (* is the default)", *lines, "", "keys", *keys, "", FLAGS])


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
    return parser.parse_intermixed_args(arguments)


def run_command(arguments: Sequence[str]) -> int:
    """Do what a `razor-run` command line says and return its exit code."""
    flags = parse(arguments)
    if flags.help or flags.version:
        print(f"razor-cli {__version__}" if flags.version else help_text())
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
    sweep = partial(launch.run_sweep, fail_fast=is_on("fail_fast", flags.overrides), debug=debug)
    return sweep(request) if flags.multirun else launch.run_once(request)


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

    @app.callback()
    def root(debug: bool = typer.Option(False, "--debug", help="Show the traceback of a failure.")) -> None:
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
