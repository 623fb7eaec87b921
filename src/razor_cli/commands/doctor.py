"""`razor doctor`: this machine at a glance, and with --acceptance whether real weights behave as is published
of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from razor_cli.acceptance.checks import Report, Request
    from razor_cli.commands.doctor_machine import Row
    from razor_cli.data.kinds.own import Folder
    from razor_cli.errors import ConfigError, Problem
    from razor_cli.families.clip.spec import ClipSpec

GLANCE_KEYS = ("output_dir", "data.cifar_root")
ACCEPTANCE_KEYS = ("model.", "data.", "output_dir", "threads", "target")


def doctor(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[KEY=VALUE]...",
            help="model.weights=FILE_OR_TAG data.cifar_root=DIR data.root=DIR output_dir=DIR",
        ),
    ] = None,
    acceptance: Annotated[
        str | None,
        typer.Option(
            "--acceptance", metavar="MODEL", help="check the weights of a model: clip_vitb32, clip_vitl14 ..."
        ),
    ] = None,
    random_weights: Annotated[
        bool,
        typer.Option("--random-weights", help="make full-size random weights and say which checks they fail"),
    ] = False,
    checkpoint: Annotated[
        str | None,
        typer.Option("--checkpoint", metavar="[ARCHITECTURE/]TAG", help="which checkpoint a renamed file is"),
    ] = None,
    pictures: Annotated[
        int,
        typer.Option(
            "--pictures",
            min=20,
            max=10_000,
            help="photographs for zero-shot accuracy; 10000 is the whole test part",
        ),
    ] = 500,
) -> None:
    """Print what is here and what is missing; with --acceptance MODEL, check weights against what is
    published of them.
    """
    from razor_cli.screen import Screen

    console = Screen(highlight=False)
    given = overrides or []
    if acceptance is None:
        refused = {"--random-weights": random_weights, "--checkpoint": checkpoint is not None}
        _only_with_acceptance([flag for flag, used in refused.items() if used])
        raise typer.Exit(_glance(console, given))
    request = read_request(
        acceptance, given, random_weights=random_weights, checkpoint=checkpoint, pictures=pictures
    )
    from razor_cli.acceptance.clip.groups import accept

    report = accept(request, console)
    print_acceptance(console, report, request)
    raise typer.Exit(0 if report.passed else 1)


def _only_with_acceptance(flags: Sequence[str]) -> None:
    if flags:
        from razor_cli.errors import ConfigError

        raise ConfigError(
            f"{', '.join(flags)} belongs to --acceptance", fix=f"razor doctor --acceptance MODEL {flags[0]}"
        )


def _glance(console: Console, overrides: Sequence[str]) -> int:
    from razor_cli.commands.doctor_environment import rows
    from razor_cli.errors import ConfigError

    values = {}
    for word in overrides:
        key, equals, value = word.partition("=")
        if key not in GLANCE_KEYS or not equals or not value:
            fix = "razor doctor --acceptance MODEL takes model.* and data.* as well"
            raise ConfigError(
                f"{word}: not a setting of razor doctor",
                allowed="=…, ".join(GLANCE_KEYS) + "=…",
                found=word,
                fix=fix,
            )
        values[key] = Path(value).expanduser()
    found = rows(values.get("output_dir", Path("outputs")), values.get("data.cifar_root"))
    print_glance(console, found)
    return 1 if any(row.state == "missing" for row in found) else 0


def read_request(
    name: str,
    overrides: Sequence[str],
    *,
    random_weights: bool = False,
    checkpoint: str | None = None,
    pictures: int = 500,
) -> Request:
    """Return the checked request of an acceptance. Raises ConfigError with every problem; no weights are
    read.
    """
    from omegaconf import OmegaConf

    from razor_cli.acceptance.checks import Request
    from razor_cli.config import command_line
    from razor_cli.config.compose import compose
    from razor_cli.config.schema import build, together
    from razor_cli.data.kinds.own import Folder
    from razor_cli.errors import ConfigError
    from razor_cli.families.clip.spec import ClipSpec

    for word in overrides:
        if not word.startswith(tuple(k if k.endswith(".") else f"{k}=" for k in ACCEPTANCE_KEYS)):
            allowed = ", ".join(k + "…=VALUE" if k.endswith(".") else f"{k}=VALUE" for k in ACCEPTANCE_KEYS)
            fix = "razor-run takes the other settings"
            raise ConfigError(f"{word}: not a setting of an acceptance", allowed=allowed, found=word, fix=fix)
    read = command_line.read([f"model={name}", "data=folder", *overrides])
    problems: list[Problem] = list(read.problems)
    if problems:
        raise together(problems)
    node = OmegaConf.to_container(compose(read), resolve=True)
    assert isinstance(node, dict)
    if node["family"] != ClipSpec.family:
        raise _unpublished(name, node["family"])
    model = build(ClipSpec, node["model"], "model", problems)
    data = build(Folder, node["data"], "data", problems)
    if model is not None and data is not None:
        problems += _conflicts(model, data, overrides, random_weights)
    if problems:
        raise together(problems)
    assert model is not None and data is not None
    if node["threads"]:
        import torch

        torch.set_num_threads(int(node["threads"]))
    return Request(
        preset=name,
        model=model,
        data=data,
        overrides=tuple(overrides),
        pictures=pictures,
        random_weights=random_weights,
        target=str(node["target"]) if any(w.startswith("target=") for w in overrides) else None,
        checkpoint=checkpoint,
        output_dir=Path(str(node["output_dir"])).expanduser(),
    )


def _unpublished(name: str, family: object) -> ConfigError:
    """Return the error of a model of a family that nothing is published of."""
    from razor_cli.errors import ConfigError
    from razor_cli.families.clip.spec import ClipSpec

    return ConfigError(
        f"--acceptance {name}: nothing is published of such a model that it could be held against",
        allowed=f"models of the family {ClipSpec.family}, such as clip_vitb32",
        found=f"family={family}",
        fix=f"razor-run model={name} method=none measures it as it is",
    )


def _conflicts(
    model: ClipSpec, data: Folder, overrides: Sequence[str], random_weights: bool
) -> list[Problem]:
    from razor_cli.errors import Problem

    found = []
    for key in ("root", "retain_root", "cifar_root"):
        path = getattr(data, key)
        if path is not None and not path.is_dir():
            found.append(Problem(what=f"data.{key}: no such folder", allowed="a folder", found=str(path)))
    if random_weights and any(w.startswith("model.weights=") for w in overrides):
        what = "--random-weights makes its own weights, and model.weights is given too"
        found.append(Problem(what=what, found=f"model.weights={model.weights}", fix="leave one of them out"))
    return found


def print_glance(console: Console, found: Sequence[Row]) -> None:
    """Print the rows of the glance by section, and what is missing with its remedy."""
    from rich.table import Table
    from rich.text import Text

    from razor_cli.commands.doctor_environment import LACKING, READY

    for section in dict.fromkeys(r.section for r in found):
        table = Table(
            box=None,
            pad_edge=False,
            show_header=False,
            title=section,
            title_justify="left",
            title_style="bold",
        )
        table.add_column(no_wrap=section not in (READY, LACKING), overflow="fold")
        table.add_column(overflow="fold")
        for row in (r for r in found if r.section == section):
            style = {"ok": "", "note": "yellow", "missing": "red"}[row.state]
            remedy = {"ok": "next", "note": "fix", "missing": "fix"}[row.state]
            text = row.value + (f"\n{remedy}: {row.fix}" if row.fix else "")
            table.add_row(Text(row.name), Text(text, style=style))
        console.print(table)
        console.print()
    missing = [r for r in found if r.state == "missing"]
    if missing:
        console.print(Text(f"missing, and needed: {', '.join(r.name for r in missing)}", style="red"))
    else:
        console.print(Text("everything that the stand-in needs is here; what else is possible stands above"))


def print_acceptance(console: Console, report: Report, request: Request) -> None:
    """Print the checks as a table, then what failed and what was skipped with reason and remedy."""
    from rich.table import Column, Table
    from rich.text import Text

    styles = {"pass": "green", "fail": "bold red", "skipped": "yellow"}
    kind = "random weights of" if report.random_weights else "stand-in" if report.stand_in else "weights"
    console.print()
    console.print(
        Text(
            f"acceptance of {kind} {report.preset} ({report.weights}, sha256 {report.weights_hash[:12]})",
            style="bold",
        )
    )
    console.print(Text(f"held against {report.checkpoint or 'no published checkpoint'}: {report.claim}"))
    table = Table(
        "check", "expected", "found", "deviation", Column("result", no_wrap=True), box=None, pad_edge=False
    )
    for column in table.columns:
        column.overflow = "fold"
    for check in report.checks:
        cells = (Text(c) for c in (check.name, check.expected, check.found, check.deviation))
        table.add_row(*cells, Text(check.status.value, style=styles[check.status.value]))
    console.print(table)
    for status, title in (("fail", "failed"), ("skipped", "skipped")):
        chosen = [c for c in report.checks if c.status.value == status]
        if chosen:
            console.print(Text(f"\n{title}", style=styles[status]))
        for check in chosen:
            console.print(Text(f"  {check.name}: {check.why}\n    fix: {check.fix}"), soft_wrap=True)
    counts = {s: sum(c.status.value == s for c in report.checks) for s in styles}
    verdict = "accepted" if report.passed else "not accepted"
    numbers = f"{counts['pass']} passed, {counts['fail']} failed, {counts['skipped']} skipped"
    file = request.output_dir / "doctor" / "doctor.json"
    console.print(
        Text(f"\n{verdict}: {numbers}, in {report.seconds:.0f} s; {file}", style="bold"), soft_wrap=True
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)
