"""What a run is made of, and the check that stands between the command line and the first weight that is
read.

The dataclasses here are the schemas of the yaml files in `conf/`; those of methods, quantization and metrics
stand beside the code they configure. Nothing below `run.py` reads a configuration: it gets these typed
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.config.amounts import AUTO, bytes_of
from razor_cli.config.schema import class_path, plain
from razor_cli.config.several import check_targets
from razor_cli.data.ask import DataSettings
from razor_cli.data.prompts import DOMAINS
from razor_cli.data.wording import AXES
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.config.quantization import Quantization
    from razor_cli.contract.method import Method
    from razor_cli.contract.spec import Spec


UNRECORDED = (  # change no number: not in the run id
    "output_dir",
    "force",
    "exit_on",
    "debug",
    "threads",
    "cache_gb",
    "memory",
    "allow_code",
    "fail_fast",
    "grid",
    "dry_run",
    "jobs",
    "overrides",
)


FRESH = "fresh"  # measured in a process of its own


class Engine(StrEnum):
    """How an edit is computed; both give the same edit, `plain` is the slow reference."""

    FAST = "fast"
    PLAIN = "plain"


class Pictures(StrEnum):
    """The embedded or prepared pictures that a scenario's concepts are shown by."""

    PORTRAITS = "portraits"
    EMOJI = "emoji"
    CIFAR10 = "cifar10"
    CANVAS = "canvas"  # objects in styles, people and mascots, for models that draw


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What kind of concept goes, and when the result is accepted."""

    name: str = "identity"
    domain: str = "person"  # wording of prompts
    default_target: str = "Taylor Swift"
    pictures: Pictures = Pictures.PORTRAITS  # what data=standin shows
    axis: str = ""  # for models that draw: style, object, cell, identity or character
    taxonomy: bool = False  # fine concepts go together and their parents stay
    suites: list[Pictures] = field(
        default_factory=list
    )  # unrelated zero-shot tasks, where their pictures are at hand
    acceptance: dict[str, dict[str, Any]] = field(
        default_factory=dict
    )  # bounds of the verdict, as metrics.verdict.Bound

    def __post_init__(self) -> None:
        if self.domain not in DOMAINS:
            raise ConfigError("scenario.domain is unknown", allowed=", ".join(DOMAINS), found=self.domain)
        if self.axis and self.axis not in AXES:
            raise ConfigError("scenario.axis is unknown", allowed=", ".join(AXES), found=self.axis)


class JudgedOn(StrEnum):
    """Which pictures a run's scores describe."""

    EVALUATION = "evaluation"
    VALIDATION = "validation"  # for choosing hyper-parameters: evaluation pictures are never looked at


class ExitOn(StrEnum):
    """Which verdicts end with exit code 3."""

    REJECTED = "rejected"
    UNDECIDED = "undecided"  # everything but ACCEPTED, a missing verdict included


@dataclass(frozen=True, kw_only=True)
class Options:
    """The settings that stand alone on the command line."""

    target: str = "Taylor Swift"  # the concept that goes; several as "[A, B]"
    sequence: bool = False  # several go one after another, each edit from the model that the one before left
    compose: bool = False  # several go, each edit from the unedited model, and the patches are put together
    seed: int = 0
    engine: Engine = Engine.FAST
    judged_on: JudgedOn = (
        JudgedOn.EVALUATION
    )  # validation: twice the validation pictures, half to search on, half to score
    control: bool = True  # also score a random change of the same size
    fresh: bool = False  # measure what it costs: a process of its own, nothing from the cache
    output_dir: Path = Path("outputs")
    force: bool = False  # run again although the run is recorded
    exit_on: ExitOn | None = None  # which verdict ends with exit code 3; null: none does
    fail_fast: bool = False  # a sweep or a grid stops at its first failed job
    grid: list[dict[str, Any]] = field(
        default_factory=list
    )  # blocks of an experiment: keys with lists of values
    dry_run: bool = False  # list the jobs with what they need, and start none
    jobs: int = 1  # processes that a grid's jobs are spread over
    debug: bool = False  # show the traceback of a failure
    threads: int | None = None  # CPU threads; null: as torch decides
    cache_gb: float = 20.0  # what gradients and embeddings of unedited models may take on disk
    memory: str = AUTO  # what a run may take where it computes
    allow_code: list[str] = field(default_factory=list)  # packages from outside that `_target_` may name
    patch_names_target: bool = False  # the patch names the target instead of its hash

    def __post_init__(self) -> None:
        if not self.target.strip() or self.target == "???":
            raise ConfigError(
                "target must not be empty",
                allowed="a name",
                found=repr(self.target),
                fix='target="Taylor Swift"',
            )
        check_targets(self.target, sequence=self.sequence, compose=self.compose)
        if self.seed < 0:
            raise ConfigError("seed must not be negative", allowed=">= 0", found=self.seed)
        if self.threads is not None and self.threads < 1:
            raise ConfigError("threads must be at least 1", allowed=">= 1 or null", found=self.threads)
        if not self.cache_gb >= 0:
            raise ConfigError("cache_gb must not be negative", allowed=">= 0", found=self.cache_gb)
        bytes_of(self.memory)
        if self.jobs < 1:
            raise ConfigError("jobs must be at least 1", allowed=">= 1", found=self.jobs)


@dataclass(frozen=True, kw_only=True)
class Experiment(Options):
    """One run, checked: everything `run.execute` needs to know."""

    model: Spec
    scenario: Scenario
    data: DataSettings
    method: Method
    quantization: Quantization
    metrics: Any  # settings of the family's exam
    overrides: dict[str, Any] = field(default_factory=dict)  # what the command line or a grid set, by key


def classes_of(experiment: Experiment) -> tuple[type, ...]:
    """Return the classes that a configuration chose; what they compute is part of the code's version."""
    return tuple(map(type, (experiment.model, experiment.method, experiment.data, experiment.metrics)))


PLACES = {  # the only code a configuration can name, by group
    "model": "razor_cli.families.",
    "scenario": "razor_cli.config.settings.Scenario.",
    "data": "razor_cli.data.kinds.",
    "method": "razor_cli.methods.",
    "quantization": "razor_cli.config.quantization.Quantization.",
    "metrics": "razor_cli.families.",
}


def resolved(experiment: Experiment) -> dict[str, Any]:
    """Return every setting that is recorded, plain and in a fixed order: what can change a number, and the
    bounds that the run was judged by.
    """
    return _recorded(plain(experiment))


def deciding(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return of recorded settings those that decide a number, which a run is named by; bounds only judge."""
    scenario = settings.get("scenario")
    if not isinstance(scenario, Mapping):
        return dict(settings)
    return {**settings, "scenario": {k: v for k, v in scenario.items() if k != "acceptance"}}


def composed(experiment: Experiment) -> dict[str, Any]:
    """Return the same settings as a configuration that `check` reads back, with classes by their paths."""
    return _recorded(plain(experiment, class_path))


def _recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what changes no number, and `fresh` where it is off: such runs keep the names they had."""
    out = {*UNRECORDED, "_target_", *(() if settings.get(FRESH) else (FRESH,))}
    return {k: v for k, v in settings.items() if k not in out}
