"""The points of a grid as jobs, all checked before one starts, and what is said of those that cannot run."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from razor_cli.config import command_line
from razor_cli.config.check import check
from razor_cli.config.compose import compose, given, with_keys
from razor_cli.config.conf_files import groups, roots_of
from razor_cli.config.overrides import as_typed, quote, shell_command
from razor_cli.config.pairings import refuse_grid
from razor_cli.config.settings import Experiment
from razor_cli.config.worded import reading
from razor_cli.errors import ConfigError, RazorError
from razor_cli.grid import photographs
from razor_cli.grid.blocks import Asked, Block, SeveralScenariosError, read
from razor_cli.grid.data_words import leave_out, told


@dataclass(frozen=True, kw_only=True)
class Job:
    """One point of a grid, checked. `pictures` are the sizes of its sets, empty where they are not known
    beforehand.
    """

    number: int
    point: dict[str, Any]
    experiment: Experiment
    command: str  # runs this job alone
    pictures: dict[str, int] = field(default_factory=dict)
    left_out: frozenset[str] = frozenset()  # words that its kind of data has no setting for
    photographed: str = ""  # the model that drawn pictures gave way for to the user's photographs

    @property
    def label(self) -> str:
        """Return what the job is, in few words: method, what is forgotten, seed, and the keys that only grids
        set.
        """
        e = self.experiment
        named = ("scenario", "data", "target", "method", "seed", "model", "quantization")
        rest = [f"{k.removeprefix('method.')}={_shown(v)}" for k, v in self.point.items() if k not in named]
        return " · ".join([e.method.name, f"{e.scenario.name} {e.target}", f"seed {e.seed}", *rest])


LABELLED = ("scenario", "target", "method", "seed")  # keys that a label says without their names


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One point of a grid that cannot run, and why."""

    number: int
    point: dict[str, Any]
    error: RazorError

    @property
    def label(self) -> str:
        """Return what the point is, as far as its keys say it, in the order of a job's label."""
        return " · ".join(named(self.point))


def named(point: Mapping[str, Any]) -> list[str]:
    """Return the values of a point in the order of a job's label: method, what is forgotten, seed."""
    about = " ".join(str(point[k]) for k in ("scenario", "target") if k in point)
    first = [str(point["method"]) if "method" in point else "", about]
    first += [f"seed {point['seed']}" if "seed" in point else ""]
    rest = [f"{k.removeprefix('method.')}={_shown(v)}" for k, v in point.items() if k not in LABELLED]
    return [*filter(None, first), *rest]


def settled(
    arguments: Sequence[str],
    name: str,
    blocks: Sequence[Block],
    extra: str | None = None,
    *,
    multirun: bool = True,
) -> tuple[Asked, list[Job], list[Refused]]:
    """Return what a command line asks of a grid, every job that can run, and every point that cannot.

    A target that no block lists belongs to the one scenario of the grid whose pictures know it. Raises
    ConfigError for words that cannot be read, and where several scenarios know it, or none.
    """
    try:
        asked = read(arguments, name, blocks, extra, multirun=multirun)
    except SeveralScenariosError as error:
        every = [
            (tried, *check_all(tried))
            for scenario in error.scenarios
            for tried in [read([*arguments, f"scenario={scenario}"], name, blocks, extra, multirun=multirun)]
        ]
        knowing = [found for found in every if found[1]]
        if len(knowing) != 1:
            raise ConfigError(error.what, allowed=error.allowed, found=error.found, fix=error.fix) from error
        return knowing[0]
    return asked, *check_all(asked)


def check_all(asked: Asked) -> tuple[list[Job], list[Refused]]:
    """Return every job, checked, and every point that cannot run. Reads no weights; lists the pictures of
    embedded data.
    """
    available = groups(roots_of(asked.extra))
    every = [
        (p, moved, tuple(f"{k}={v}" for k, v in p.items() if k in available))
        for p, moved in photographs.placed(asked)
    ]
    composed = _composed(asked, list(dict.fromkeys(chosen for *_, chosen in every)))
    said = {c: given(request.overrides) for c, (request, _, _) in composed.items()}
    sizes: dict[str, dict[str, int] | RazorError] = {}
    jobs: list[Job] = []
    refused: list[Refused] = []
    for number, (point, moved, chosen) in enumerate(every, 1):
        request, cfg, less = composed[chosen]
        try:
            if isinstance(cfg, RazorError):
                raise cfg
            keys = {k: v for k, v in point.items() if k not in available}
            with reading([*asked.words, *(f"{k}={_shown(v)}" for k, v in keys.items())]):
                typed = said[chosen] | keys
                experiment = check(
                    with_keys(cfg, keys), request.problems, request.skip, request.allowed, typed
                )
            if not asked.name:
                refuse_grid(experiment)
            experiment = replace(experiment, overrides=typed)
            pictures = _pictures(experiment, sizes)
            jobs.append(
                Job(
                    number=number,
                    point=point,
                    experiment=experiment,
                    command=alone(replace(asked, words=[w for w in asked.words if w not in less]), point),
                    pictures=pictures,
                    left_out=less,
                    photographed=moved,
                )
            )
        except RazorError as error:
            refused.append(Refused(number=number, point=point, error=error))
    return jobs, refused


def _composed(
    asked: Asked, choices: Sequence[tuple[str, ...]]
) -> dict[tuple[str, ...], tuple[command_line.Request, Any, frozenset[str]]]:
    """Return for each choice of options what was read, the configuration or why there is none, and the words
    that were left out of it.
    """
    off = ["grid=[]"] if asked.name else []
    requests = {
        c: command_line.read([*asked.words, *off, *c], multirun=asked.multirun, extra=asked.extra)
        for c in choices
    }
    made: dict[tuple[str, ...], Any] = {}
    for chosen, request in requests.items():
        try:
            made[chosen] = compose(request)
        except RazorError as error:
            made[chosen] = error
    whole = {c: cfg for c, cfg in made.items() if not isinstance(cfg, RazorError)}
    gone = leave_out(whole, asked.words) if asked.name else {}  # each job of a sweep says it by itself
    return {c: (requests[c], made[c], gone.get(c, frozenset())) for c in choices}


def left_out(jobs: Sequence[Job]) -> list[str]:
    """Return a line for each word of the command line that some jobs have no setting for, and for each model
    that takes photographs in place of drawn pictures.
    """
    said = photographs.told(job.photographed for job in jobs)
    return said + told((job.experiment.data.kind, job.left_out) for job in jobs)


def _pictures(experiment: Experiment, known: dict[str, dict[str, int] | RazorError]) -> dict[str, int]:
    """Return the sizes of the sets; an unknown target, or too few pictures, is refused here. Seeds share one
    answer. Of pictures that are not listed beforehand the target is looked for.
    """
    key = repr(
        (
            experiment.scenario,
            experiment.data,
            experiment.target,
            experiment.model.stand_in,
            experiment.judged_on,
        )
    )
    if key not in known:
        try:
            known[key] = _sizes(experiment)
        except RazorError as error:
            known[key] = error
    found = known[key]
    if isinstance(found, RazorError):
        raise found
    return found


def _sizes(experiment: Experiment) -> dict[str, int]:
    from razor_cli.bench import sets_of
    from razor_cli.config.asked import ask_of

    if experiment.data.listed_beforehand:
        return sets_of(experiment).sizes()
    if (find := getattr(experiment.data, "find_target", None)) is not None:
        for each in ask_of(experiment, experiment.scenario, experiment.model).of_each():
            find(each)
    return {}


def alone(asked: Asked, point: Mapping[str, Any]) -> str:
    """Return the command that runs one point by itself."""
    words = [f"experiment={asked.name}", "grid=[]"] if asked.name else []
    rest = [
        as_typed(w) if asked.multirun else w
        for w in asked.words
        if not w.lstrip("+").startswith(("experiment=", "jobs=", "dry_run=", "fail_fast="))
    ]
    return shell_command([*words, *rest, *(as_typed(f"{k}={_literal(v)}") for k, v in point.items())])


def _literal(value: Any) -> str:
    """Return a value in Hydra's grammar."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, list):
        return f"[{','.join(map(_literal, value))}]"
    return _shown(value)


def _shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}[value]
        if value is None or isinstance(value, bool)
        else str(value)
    )


def refusal(asked: Asked, jobs: Sequence[Job], refused: Sequence[Refused]) -> ConfigError:
    """Return one error for all points that cannot run: each reason once, and the override that leaves them
    out.
    """
    where: dict[str, list[Refused]] = {}
    for one in refused:
        where.setdefault(one.error.message(), []).append(one)
    name = f" of experiment={asked.name}" if asked.name else ""
    lines = [f"{len(refused)} of {len(jobs) + len(refused)} jobs{name} cannot run, so none was started"]
    for i, (text, same) in enumerate(where.items(), 1):
        first = " ".join(f"{k}={_shown(v)}" for k, v in same[0].point.items())
        lines += [f"{i}. {len(same)} jobs, the first: {first}" if len(same) > 1 else f"{i}. {first}"]
        lines += ["   " + line for line in text.splitlines()]
    rest = leaving_out(jobs, refused)
    return ConfigError("\n".join(lines), fix=f"or leave them out: {rest}" if rest else None)


def leaving_out(jobs: Sequence[Job], refused: Sequence[Refused]) -> str:
    """Return the override that keeps exactly the jobs that can run, or nothing if no single one does."""
    for key in ("scenario", "method", "target", "data"):
        bad = {repr(r.point.get(key)) for r in refused}
        good = {repr(j.point.get(key)): j.point.get(key) for j in jobs}
        if good and None not in good.values() and not bad & good.keys():
            return shlex.quote(f"{key}={','.join(map(str, good.values()))}")
    return ""
