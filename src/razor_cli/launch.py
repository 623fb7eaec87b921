"""From the words of a command line to checked experiments, one or those of a grid, and to one exit code."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from razor_cli.config.command_line import Request
from razor_cli.config.compose import checked, hydra_errors, hydra_here
from razor_cli.config.overrides import is_on
from razor_cli.config.pairings import refuse_grid
from razor_cli.config.settings import Experiment
from razor_cli.config.worded import reading
from razor_cli.errors import ConfigError, nearest

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra


def run_once(request: Request) -> int:
    """Check and execute one run; return its exit code."""
    experiment = checked(request)
    refuse_grid(experiment)
    refuse_unsaid(experiment)
    from razor_cli.run import execute

    return execute(experiment)


def refuse_unsaid(experiment: Experiment) -> None:
    """Raise ConfigError for a file that asks for a plan where a run is about to start."""
    if experiment.dry_run:
        what = "dry_run: in a file it holds for the grid of an experiment only"
        raise ConfigError(
            what, found="dry_run: true", fix="dry_run=true on the command line, or dry_run=false"
        )


def run_grid(
    arguments: Sequence[str],
    name: str,
    blocks: list[dict[str, list[Any]]],
    extra: str | None,
    *,
    multirun: bool = True,
    debug: bool,
) -> int:
    """Check every job of a grid, then run or list them; return the exit code. Without a name it is a sweep,
    or one run, to be listed.
    """
    from razor_cli.grid import points as grid
    from razor_cli.screen import Screen

    with reading(arguments):
        asked, jobs, refused = grid.settled(arguments, name, blocks, extra, multirun=multirun)
    console = Screen()
    if is_on("dry_run", arguments) or any(job.experiment.dry_run for job in jobs):
        from razor_cli.grid.plan import plan

        return plan(asked, jobs, refused, console)
    if refused:
        raise grid.refusal(asked, jobs, refused)
    if not jobs:
        raise ConfigError(f"experiment={name} has no jobs left, so there is nothing to run", fix="KEY=A,B")
    for line in grid.left_out(jobs):
        console.print(line, markup=False, highlight=False)
    from razor_cli.grid import jobs as grid_jobs

    how = jobs[0].experiment
    return grid_jobs.run_grid(
        asked, jobs, processes=how.jobs, fail_fast=how.fail_fast, debug=debug, console=console
    )


def show(request: Request, flags: Namespace) -> int:
    """Print the composed configuration or Hydra's own information; a configuration that would be refused is
    so called.
    """
    with hydra_here() as hydra, hydra_errors(request):
        if flags.info:
            hydra.show_info(flags.info, config_name="config", overrides=request.overrides)
            return 0
        if flags.package is not None:
            _package(hydra, request, flags)
        hydra.show_cfg("config", request.overrides, flags.cfg, flags.package, flags.resolve)
    sys.stdout.flush()
    checked(request)
    return 0


def _package(hydra: Hydra, request: Request, flags: Namespace) -> None:
    """Raise ConfigError for a part of the configuration that is not there."""
    from hydra.types import RunMode
    from omegaconf import OmegaConf

    cfg = hydra.compose_config("config", request.overrides, RunMode.RUN)
    shown = hydra.get_sanitized_cfg(cfg, flags.cfg)
    if flags.package == "_global_":
        return
    if not flags.package or OmegaConf.select(shown, flags.package) is None:
        names = [str(k) for k in shown]
        close = nearest(flags.package, names)
        raise ConfigError(
            f"-p {flags.package}: the configuration has no such part, or it is null",
            allowed=", ".join(names),
            fix=f"did you mean -p {' or -p '.join(close)}?" if close else None,
        )
