"""`razor judge`: recorded runs against the bounds they were judged by, or others; their folders stay as they
are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from razor_cli.errors import ConfigError, RazorError, headline, nearest

if TYPE_CHECKING:
    from rich.console import Console

    from razor_cli.config.settings import ExitOn
    from razor_cli.runs.folder import Run
    from razor_cli.runs.records import Verdict

ALL = "all"
WORD = re.compile(r"(?:scenario\.)?acceptance\.(?P<name>\w+)(?:\.(?P<key>\w+))?=(?P<value>.*)", re.DOTALL)
FORM = "acceptance.NAME.key=value, exit_on=rejected|undecided"


def judge(
    run: Annotated[
        str, typer.Argument(help="a run's folder, the beginning of its id, `latest`, or `all`")
    ] = "latest",
    changes: Annotated[
        list[str] | None,
        typer.Argument(metavar="[acceptance.NAME.key=VALUE ...]", help="over the bounds a run was judged by"),
    ] = None,
    output_dir: Annotated[Path, typer.Option(help="where runs are recorded")] = Path("outputs"),
) -> None:
    """Judge recorded runs anew; nothing is computed and no run folder changes.

    With exit_on=rejected or exit_on=undecided it ends with code 3 where a run's verdict does not pass.
    """
    from razor_cli.printing import note
    from razor_cli.runs.judged import exit_code
    from razor_cli.runs.known import find_run, known_runs
    from razor_cli.screen import Screen

    bounds, exit_on = _read(changes or [])
    console = Screen()
    if run != ALL:
        found = find_run(output_dir, run, note)
        verdict = _judged(found, bounds)
        _print_line(console, found, verdict)
        _print_reasons(console, found, verdict)
        raise typer.Exit(exit_code(exit_on, verdict.decision if verdict else None))
    with known_runs(output_dir, note) as known:
        raise typer.Exit(_judge_all(console, known.runs, bounds, exit_on))


def _judge_all(
    console: Console, runs: Sequence[Run], bounds: Mapping[str, Any], exit_on: ExitOn | None
) -> int:
    """Print a line for each run, and return what the command ends with."""
    from razor_cli.printing import counted
    from razor_cli.runs.judged import exit_code

    _known_somewhere(runs, bounds)
    counts: Counter[str] = Counter()
    code = 0
    for each in runs:
        verdict, why = _tried(each, bounds)
        _print_line(console, each, verdict, why)
        decision = verdict.decision if verdict else None
        counts[decision.value if decision else "without a verdict"] += 1
        code = max(code, exit_code(exit_on, decision))
    told = ", ".join(f"{count} {what}" for what, count in sorted(counts.items()))
    console.print(f"{counted(len(runs), 'run')}{': ' + told if told else ''}", highlight=False)
    return code


def _read(words: Sequence[str]) -> tuple[dict[str, Any], ExitOn | None]:
    """Return the changes of bounds, by name a mapping of keys or a whole bound, and what ends with code 3."""
    import yaml  # type: ignore[import-untyped]

    from razor_cli.config import renamed
    from razor_cli.config.schema import INVALID, convert, together
    from razor_cli.config.settings import ExitOn
    from razor_cli.errors import Problem

    problems: list[Problem] = []
    changes: dict[str, Any] = {}
    exit_on: Any = None
    for typed in words:
        word = renamed.word(typed.removeprefix("--"), {})
        if word.startswith("exit_on="):
            value = word.removeprefix("exit_on=")
            found = convert(None if value == "null" else value, ExitOn | None, "exit_on", problems)
            exit_on = None if found is INVALID else found
            continue
        if (match := WORD.fullmatch(word)) is None:
            problems.append(Problem(what=f"{typed}: not a bound", allowed=FORM, found=typed))
            continue
        try:
            value = yaml.safe_load(match["value"])
        except yaml.YAMLError:
            problems.append(Problem(what=f"{typed}: the value cannot be read", allowed=FORM, found=typed))
            continue
        if match["key"] is None:
            changes[match["name"]] = value
        else:
            changes.setdefault(match["name"], {})[match["key"]] = value
    if problems:
        raise together(problems)
    return changes, exit_on


def _recorded(run: Run) -> dict[str, Any]:
    """Return the bounds that a run was judged by, in the order in which its report lists them."""
    scenario = run.record.settings.get("scenario")
    found = scenario.get("acceptance") if isinstance(scenario, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    reasons = run.record.verdict.reasons if run.record.verdict else []

    def place(name: str) -> int:
        return next((i for i, reason in enumerate(reasons) if f"  {name}: " in reason), len(reasons))

    return {name: found[name] for name in sorted(found, key=place)}


def _judged(run: Run, changes: Mapping[str, Any]) -> Verdict | None:
    """Return the verdict by a run's bounds and what replaces them. Raises ConfigError for wrong ones."""
    from razor_cli.config.schema import convert, together
    from razor_cli.errors import Problem
    from razor_cli.metrics.bounds import Bound
    from razor_cli.runs.judged import by_bounds

    bounds = _recorded(run)
    for name, change in changes.items():
        if not isinstance(change, Mapping):
            raise ConfigError(
                f"acceptance.{name} must be a bound", allowed="{metric: m1, at_most: 55}", found=change
            )
        if name not in bounds and "metric" not in change:
            near = nearest(name, bounds)
            raise ConfigError(
                f"acceptance.{name}: run {run.run_id} has no such bound",
                allowed=", ".join(bounds) or "none is recorded",
                fix=f"did you mean acceptance.{near[0]}?"
                if near
                else f"acceptance.{name}.metric=… makes one",
            )
        bounds[name] = {**bounds.get(name, {}), **change}
    problems: list[Problem] = []
    convert(bounds, dict[str, Bound], "acceptance", problems)
    if problems:
        raise together(problems)
    return by_bounds(run, bounds)


def _tried(run: Run, changes: Mapping[str, Any]) -> tuple[Verdict | None, str]:
    """Return the verdict, or why there is none: one run that cannot be judged does not end the others."""
    try:
        return _judged(run, changes), ""
    except RazorError as error:
        return None, headline(error)


def _known_somewhere(runs: Sequence[Run], changes: Mapping[str, Any]) -> None:
    """Raise ConfigError for a change of a bound that no run has."""
    known = {name for run in runs for name in _recorded(run)}
    for name, change in changes.items():
        if runs and name not in known and isinstance(change, Mapping) and "metric" not in change:
            near = nearest(name, known)
            raise ConfigError(
                f"acceptance.{name}: no recorded run has such a bound",
                allowed=", ".join(sorted(known)) or "none is recorded",
                fix=f"did you mean acceptance.{near[0]}?"
                if near
                else f"acceptance.{name}.metric=… makes one",
            )


def _print_line(console: Console, run: Run, verdict: Verdict | None, why: str = "") -> None:
    from rich.text import Text

    from razor_cli.report.cells import Words
    from razor_cli.report.terminal import STYLES

    words, r = Words(console.options.ascii_only), run.record
    said = Text(verdict.decision.value, style=STYLES[verdict.decision]) if verdict else Text("no verdict")
    line = verdict.by if verdict else ""
    line += f'  {r.run_id}  {r.model} {r.scenario} "{r.target}" {r.method} seed {r.seed}'
    before = r.verdict.decision if r.verdict else None
    if before is not None and before is not (verdict.decision if verdict else None):
        line += f"  (recorded as {before.value})"
    console.print(said + Text(words(line + (f": {why}" if why else ""))), soft_wrap=True)


def _print_reasons(console: Console, run: Run, verdict: Verdict | None) -> None:
    from razor_cli.report.cells import Words, print_fields

    words = Words(console.options.ascii_only)
    if verdict is None:
        console.print("no bound is recorded; acceptance.NAME.metric=… acceptance.NAME.at_most=… makes one")
    else:
        print_fields(console, words, [(words("·"), reason) for reason in verdict.reasons])


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(judge)
