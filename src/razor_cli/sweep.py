"""Sweeps: every combination of several values is an experiment of its own, started by Hydra's launcher.

Points print a line each, and a table together.
"""

from __future__ import annotations

import itertools
import math
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from razor_cli.config.check import check
from razor_cli.config.command_line import Request, values_of
from razor_cli.config.compose import checked, given, hydra_errors, hydra_here
from razor_cli.config.conf_files import conf_dir, values
from razor_cli.config.hydra_words import cannot_start
from razor_cli.config.outside import allowed
from razor_cli.config.overrides import as_typed, quote
from razor_cli.config.pairings import refuse_grid
from razor_cli.config.schema import together
from razor_cli.config.worded import reading
from razor_cli.errors import ConfigError, Problem, headline, report
from razor_cli.grid.job import perform_job
from razor_cli.grid.kept import Kept
from razor_cli.grid.swept import Outcome, label, left, line, overview, point_of, summary
from razor_cli.launch import refuse_unsaid
from razor_cli.printing import say, steady_streams
from razor_cli.runs.judged import exit_code
from razor_cli.screen import Screen
from razor_cli.stopping import asked_to_stop, failure_mark, keeping, this_process
from razor_cli.writable import require_writable

if TYPE_CHECKING:
    from omegaconf import DictConfig

MOST_CHECKED = (
    32  # points of a sweep that are looked at before the first one runs, as long as all are refused
)
FOR_ALL = ("dry_run", "jobs", "grid", "fail_fast", "debug")  # settings of a command, and of no single job


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
    keys: tuple[str, ...] = ()  # what has several values
    total: int | None = None  # None: the sweeper decides
    outcomes: list[Outcome] = field(default_factory=list)
    process: str = field(default_factory=this_process)
    stopped: bool = False  # ended by a failure, in this process
    kept: Kept = field(default_factory=Kept)

    def __call__(self, cfg: DictConfig) -> Outcome:
        """Check and execute one point, and say in a line how it ended."""
        from hydra.core.hydra_config import HydraConfig

        overrides = tuple(HydraConfig.get().overrides.task)
        if self.failed is not None and self.failed.exists():
            return Outcome(overrides=overrides, exit_code=0, started=False)
        steady_streams()  # a launcher may have started a process of its own
        number, point = HydraConfig.get().job.num + 1, point_of(list(map(as_typed, overrides)), self.keys)
        outcome = self._ended(cfg, number, Outcome(overrides=overrides, exit_code=0, point=point))
        self.outcomes.append(outcome)
        alone = self.process != this_process()  # what others have done is not known here
        told = line(outcome, number, self.total, "" if alone else left(self.outcomes, self.total))
        Screen(file=sys.stdout).print(told, soft_wrap=True)
        if outcome.error and (self.fail_fast or cfg.get("fail_fast") is True):
            if self.process == this_process():
                raise SweepStopped
            if self.failed is not None:
                self.failed.parent.mkdir(parents=True, exist_ok=True)  # none before a run
                self.failed.touch()
        return outcome

    def _ended(self, cfg: DictConfig, number: int, point: Outcome) -> Outcome:
        """Return how a point ended; what is wrong with it is printed."""
        try:
            with reading([as_typed(o) for o in point.overrides]):
                said = given(point.overrides)
                experiment = replace(check(cfg, allowed=allowed(point.overrides), typed=said), overrides=said)
            refuse_grid(experiment)
            refuse_unsaid(experiment)
        except Exception as error:  # every kind of failure is reported in the summary
            if stop := asked_to_stop():  # a library made a failure of its own of it
                raise stop from error
            return replace(point, exit_code=report(error, debug=self.debug), error=headline(error))
        if experiment.fresh:
            self.kept.drop()
        count = number if self.total is None else f"{number} of {self.total}"
        with Screen(file=sys.stdout).status(Text(f"job {count}: {label(point.point or {})}")):
            ended = perform_job(number, experiment, self.kept, say)
        if not ended.error:
            return replace(point, exit_code=exit_code(experiment.exit_on, ended.decision), ended=ended)
        if stop := asked_to_stop():
            raise stop
        say((ended.trace if self.debug else "") + ended.error, file=sys.stderr)
        return replace(point, exit_code=ended.exit_code, error=ended.error.partition("\n")[0], ended=ended)


class SweepStopped(BaseException):
    """Ends a sweep at its first failure; not an Exception, because the launcher keeps those to itself."""


def run_sweep(request: Request, *, fail_fast: bool = False, debug: bool = False) -> int:
    """Run every point of a sweep with the chosen launcher; return 0, or the exit code of the first job that
    has another.
    """
    if problems := [*request.problems, *_not_swept(request)]:
        raise together(problems)
    _refuse_for_all(request)
    folders = _output_dirs(request)
    for folder in folders:
        require_writable(folder / "runs", "output_dir")
    with failure_mark(folders[0]) as failed:
        keys, total = _several(request)
        job = Job(fail_fast=fail_fast, debug=debug, failed=failed, keys=keys, total=total)
        outcomes = _swept(request, job)
    if not outcomes:
        raise ConfigError("the sweep has no jobs, so there is nothing to run", fix="give values: KEY=A,B")
    if (found := overview(outcomes)) is not None:
        say("")
        Screen(file=sys.stdout).print(found)
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


def _several(request: Request) -> tuple[tuple[str, ...], int | None]:
    """Return the keys that have several values, and how many points that makes; None where another sweeper
    than Hydra's own decides.
    """
    found = {key: len(swept) for key, swept, several in map(values_of, request.overrides) if several}
    chosen = any(o.startswith("hydra/sweeper=") for o in request.overrides)
    return tuple(found), None if chosen else math.prod(found.values())


def _not_swept(request: Request) -> list[Problem]:
    """Return the problems of several values for what a sweep has one of, and of a launcher that cannot start,
    before its first job is started.
    """
    found: list[Problem] = []
    for key, swept, several in map(values_of, request.overrides if not request.problems else ()):
        if key == "hydra/launcher" and (problem := cannot_start(str(swept[0]))):
            found.append(problem)
        if several and key in FOR_ALL:
            what = f"{key} holds for the whole sweep, and cannot have several values in it"
            found.append(Problem(what=what, found=", ".join(map(str, swept)), fix=f"{key}=VALUE, one"))
        elif several and key == "experiment":
            found += [p for value in swept for p in _is_grid(request, str(value))]
    return found


def _refuse_for_all(request: Request) -> None:
    """Raise ConfigError where no point of a sweep can run, before its first job: a setting that does not
    exist, such as one misspelt. A sweep of which one point can run goes on, and names the others at its end.
    """
    first: ConfigError | None = None
    if any(o.startswith(("hydra/sweeper=", "hydra/launcher=")) for o in request.overrides):
        return
    for words in itertools.islice(_points(request), MOST_CHECKED):
        try:
            experiment = checked(replace(request, overrides=words))
            refuse_grid(experiment)
            refuse_unsaid(experiment)
        except ConfigError as error:
            first = first or error
        else:
            return
    if first is not None:
        raise first


def _points(request: Request) -> Iterator[list[str]]:
    """Yield the words of each point of a sweep that lists its values."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser, ways = OverridesParser.create(), []
    for word in request.overrides:
        found = parser.parse_override(word)
        plus = word[: len(word) - len(word.lstrip("+"))]
        several = found.sweep_string_iterator() if found.is_sweep_override() else None
        ways.append(
            [word] if several is None else [f"{plus}{found.key_or_group}={value}" for value in several]
        )
    return map(list, itertools.product(*ways))


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
