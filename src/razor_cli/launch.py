"""From the words of a command line to checked experiments, one or a sweep of them, and to one exit code."""

from __future__ import annotations

import sys
import tempfile
from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.config.check import check
from razor_cli.config.command_line import Request, values_of
from razor_cli.config.compose import checked, given, hydra_errors, hydra_here
from razor_cli.config.conf_files import conf_dir, values
from razor_cli.config.outside import allowed
from razor_cli.config.overrides import as_typed, is_on, quote, shell_command
from razor_cli.config.pairings import refuse_grid
from razor_cli.config.schema import together
from razor_cli.config.settings import Experiment
from razor_cli.config.worded import reading
from razor_cli.errors import ConfigError, Problem, headline, nearest, report
from razor_cli.printing import say, steady_streams
from razor_cli.stopping import asked_to_stop, failure_mark, keeping, this_process
from razor_cli.writable import require_writable

if TYPE_CHECKING:
    from hydra._internal.hydra import Hydra
    from omegaconf import DictConfig


FOR_ALL = ("dry_run", "jobs", "grid", "fail_fast", "debug")  # settings of a command, and of no single job


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How one job of a sweep ended."""

    overrides: tuple[str, ...]
    exit_code: int
    error: str = ""  # first line
    started: bool = True  # false: another had failed before it, and fail_fast was asked for


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
    from razor_cli.grid.blocks import read
    from razor_cli.screen import Screen

    with reading(arguments):
        asked = read(arguments, name, blocks, extra, multirun=multirun)
        jobs, refused = grid.check_all(asked)
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


@dataclass
class Job:
    """What Hydra's launcher calls for every point of a sweep; it never raises, so that one failure does not
    end the others. With `fail_fast` the launcher of this process is ended by the first. Other launchers
    work on copies in processes of their own, perhaps on other machines: there a file tells the points that
    come after it.
    """

    fail_fast: bool = False
    debug: bool = False
    failed: Path | None = None  # the file, in a folder that all of them see
    outcomes: list[Outcome] = field(default_factory=list)
    process: str = field(default_factory=this_process)
    stopped: bool = False  # ended by a failure, in this process

    def __call__(self, cfg: DictConfig) -> Outcome:
        """Check and execute one point."""
        from hydra.core.hydra_config import HydraConfig

        overrides = tuple(HydraConfig.get().overrides.task)
        if self.failed is not None and self.failed.exists():
            return Outcome(overrides=overrides, exit_code=0, started=False)
        steady_streams()  # a launcher may have started a process of its own
        say(f"\n[{HydraConfig.get().job.num + 1}] {shell_command(overrides)}")
        outcome = Outcome(overrides=overrides, exit_code=0)
        try:
            with reading([as_typed(o) for o in overrides]):
                experiment = replace(check(cfg, allowed=allowed(overrides)), overrides=given(overrides))
            refuse_grid(experiment)
            refuse_unsaid(experiment)
            from razor_cli.run import execute

            outcome = Outcome(overrides=overrides, exit_code=execute(experiment))
        except Exception as error:  # every kind of failure is reported in the summary
            if stop := asked_to_stop():  # a library made a failure of its own of it
                raise stop from error
            code = report(error, debug=self.debug)
            outcome = Outcome(overrides=overrides, exit_code=code, error=headline(error))
        self.outcomes.append(outcome)
        if outcome.error and (self.fail_fast or cfg.get("fail_fast") is True):
            if self.process == this_process():
                raise SweepStopped
            if self.failed is not None:
                self.failed.touch()
        return outcome


class SweepStopped(BaseException):
    """Ends a sweep at its first failure; not an Exception, because the launcher keeps those to itself."""


def run_sweep(request: Request, *, fail_fast: bool = False, debug: bool = False) -> int:
    """Run every point of a sweep with the chosen launcher; return 0, or the exit code of the first job that
    has another.
    """
    if problems := [*request.problems, *_not_swept(request)]:
        raise together(problems)
    folders = _output_dirs(request)
    for folder in folders:
        require_writable(folder / "runs", "output_dir")
    with failure_mark(folders[0]) as failed:
        job = Job(fail_fast=fail_fast, debug=debug, failed=failed)
        outcomes = _swept(request, job)
    if not outcomes:
        raise ConfigError("the sweep has no jobs, so there is nothing to run", fix="give values: KEY=A,B")
    say(summary(outcomes, stopped=job.stopped or not all(o.started for o in outcomes)))
    return next((o.exit_code for o in outcomes if o.exit_code), 0)


def _swept(request: Request, job: Job) -> list[Outcome]:
    """Run every point with the chosen launcher; return how they ended, as far as the first failure where
    asked.
    """
    try:
        with (
            keeping(lambda: _kept(job.outcomes)),
            hydra_here() as hydra,
            hydra_errors(request),
            _sweep_folder(request) as words,
        ):
            batches = hydra.multirun(
                config_name="config",
                task_function=job,
                overrides=[*request.overrides, "hydra.mode=MULTIRUN", *words],
            )
    except SweepStopped:
        job.stopped = True
        return job.outcomes
    return [r.return_value for batch in batches for r in batch]  # other launchers have copies of `job`


def _not_swept(request: Request) -> list[Problem]:
    """Return the problems of several values for what a sweep has one of, before its first job is started."""
    found: list[Problem] = []
    for key, swept, several in map(values_of, request.overrides if not request.problems else ()):
        if several and key in FOR_ALL:
            what = f"{key} holds for the whole sweep, and cannot have several values in it"
            found.append(Problem(what=what, found=", ".join(map(str, swept)), fix=f"{key}=VALUE, one"))
        elif several and key == "experiment":
            found += [p for value in swept for p in _is_grid(request, str(value))]
    return found


def _is_grid(request: Request, experiment: str) -> list[Problem]:
    """Return the problem of an experiment that is a grid, where a sweep names it among others."""
    from razor_cli.grid.blocks import chosen_blocks

    words = [o for o in request.overrides if not o.lstrip("+").startswith("experiment=")]
    extra = str(request.roots[1]) if len(request.roots) > 1 else None
    if not chosen_blocks([*words, f"experiment={experiment}"], extra):
        return []
    what = f"-m experiment={experiment},…: this experiment is a grid, which runs by itself and without -m"
    return [Problem(what=what, fix=f"razor-run experiment={experiment}; grid=[] switches the grid off")]


def _output_dirs(request: Request) -> list[Path]:
    """Return the folders that a sweep's words have it write into, or the one it has without a word."""
    words = [o for o in request.overrides if o.lstrip("+").startswith("output_dir=")]
    named = [value for word in words for value in values_of(word)[1]]
    return [Path(str(v)).expanduser() for v in named or [values(conf_dir() / "config.yaml")["output_dir"]]]


@contextmanager
def _sweep_folder(request: Request) -> Iterator[list[str]]:
    """Give the words that keep what Hydra writes of a sweep out of the results: its jobs are recorded runs.

    A launcher that was chosen may work on other machines, and needs the folder that these see too.
    """
    if any(o.startswith("hydra/launcher=") for o in request.overrides):
        yield []
        return
    with tempfile.TemporaryDirectory() as folder:
        yield [f"hydra.sweep.dir={quote(folder)}"]


def _kept(outcomes: Sequence[Outcome]) -> str:
    done = sum(not o.error for o in outcomes)
    return f"{done} jobs of the sweep are recorded and kept; the same command does the others"


def summary(outcomes: Sequence[Outcome], *, stopped: bool = False) -> str:
    """Return the end of a sweep: how many jobs there were, and for each failed one its error and how to run
    it again.
    """
    failed, left = [o for o in outcomes if o.error], [o for o in outcomes if not o.started]
    done = len(outcomes) - len(failed) - len(left)
    lines = [f"\nsweep: {len(outcomes)} jobs, {done} finished, {len(failed)} failed"]
    if stopped:
        rest = f": {len(left)} not started" if left else ""
        lines.append(f"stopped at the first failure (fail_fast=true){rest}")
    for number, outcome in enumerate(outcomes, 1):
        if outcome.error:
            lines += [f"  job {number}: {outcome.error}", f"    rerun: {shell_command(outcome.overrides)}"]
        elif outcome.exit_code:
            lines += [
                f"  job {number}: ended with exit code {outcome.exit_code}: "
                f"{shell_command(outcome.overrides)}"
            ]
    return "\n".join(lines)


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
