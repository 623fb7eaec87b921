"""How a model is examined: load it, run the groups of checks that its family hands in, and write the report.

Nothing here changes the weights it is given; what needs files works on copies in a folder that goes away.
"""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from razor_cli.acceptance.checks import Check, Report, Request, Say, Status
from razor_cli.atomic import staged
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from razor_cli.progress import Progress


class Weights(Protocol):
    """What the report says of the model that was loaded."""

    @property
    def source(self) -> str:
        """Where the weights came from."""

    @property
    def device(self) -> str:
        """Where they are."""

    def weights_hash(self) -> str:
        """Return the hash of the weights."""


class Subject(Protocol):
    """What the checks of a family are made on: a loaded model, and the checkpoint it claims to be."""

    @property
    def model(self) -> Weights:
        """The loaded model."""

    @property
    def architecture(self) -> str | None:
        """Name of its architecture; None where that is not told."""

    @property
    def published(self) -> str | None:
        """Name of the published checkpoint that it is held against; None where none is known."""

    @property
    def claim(self) -> str:
        """How it was decided which checkpoint this is."""


S = TypeVar("S", bound=Subject)


@dataclass(frozen=True, kw_only=True)
class Examination(Generic[S]):
    """How one family of models is accepted: what loads the model, and the groups of checks, by title."""

    family: str
    load: Callable[[Request, Path | None, Path], S]  # weights made here, if any; a folder that goes away
    randomize: Callable[[Request, Path], Path]  # writes weights that were never trained into that folder
    groups: Mapping[str, Callable[[S, Say], list[Check]]]


def run(request: Request, console: Console, examination: Examination[S]) -> Report:
    """Load the model, run every check, write OUTPUT_DIR/doctor/doctor.json and return the report.

    Raises UserError where there is nothing to check: no weights, weights that do not fit, pictures that
    cannot be read.
    """
    from razor_cli.progress import Progress
    from razor_cli.runs import provenance

    logging.getLogger("root").setLevel(logging.WARNING)  # libraries log to the root logger while they load
    started, clock = provenance.now(), time.perf_counter()
    home, progress = request.output_dir / "doctor", Progress(console)
    with _workplace(home) as folder:
        made = None
        if request.random_weights:
            with progress.stage("writing random weights"):
                made = examination.randomize(request, folder)
        with progress.stage(f"loading {request.model.name}"):
            subject = examination.load(request, made, folder)
        checks = _checks(subject, examination, progress)
        report = Report(
            preset=request.preset,
            architecture=subject.architecture,
            claim=subject.claim,
            weights=subject.model.source,
            checkpoint=subject.published,
            weights_hash=subject.model.weights_hash(),
            stand_in=request.model.stand_in,
            random_weights=request.random_weights,
            checks=tuple(checks),
            seconds=time.perf_counter() - clock,
            conditions=_conditions(request, examination.family, subject.model.device, started),
        )
        report.write(home / "doctor.json")
        return report


@contextmanager
def _workplace(home: Path) -> Iterator[Path]:
    """Give a folder for copies inside `home`, and remove it and every folder made for it that is empty
    afterwards.

    Raises ConfigError where nothing can be written.
    """
    new = [p for p in (home, *home.parents) if not p.exists()]
    try:
        with ExitStack() as stack:
            try:
                place = stack.enter_context(staged(home / "copies"))
                place.mkdir()
            except OSError as error:
                raise ConfigError(
                    f"output_dir: cannot write in '{home}'",
                    found=error,
                    fix="output_dir=DIR, a folder of yours",
                ) from error
            yield place
    finally:
        for folder in new:
            with suppress(OSError):  # not empty: it holds something by now
                folder.rmdir()


def _checks(subject: S, examination: Examination[S], progress: Progress) -> list[Check]:
    """Run every group of checks; one that breaks down is a failed check, and the others still run."""
    found: list[Check] = []
    for title, group in examination.groups.items():
        with progress.stage(f"checking {title}") as say:
            try:
                found += group(subject, say)
            except Exception as error:  # whatever breaks is what an acceptance is for
                found.append(_broken(title, error))
    return found


def _broken(title: str, error: Exception) -> Check:
    lines = str(error).strip().splitlines() or ["no message"]
    last = traceback.extract_tb(error.__traceback__)[-1]
    fix = "the check itself broke: more memory or disk may help, else report it with doctor.json"
    return Check(
        name=title,
        status=Status.FAIL,
        expected="the check runs",
        found=f"{type(error).__name__}: {lines[0]}",
        why=f"stopped in {Path(last.filename).name}, line {last.lineno}, {last.name}: " + " ".join(lines),
        fix=fix,
    )


def _conditions(request: Request, family: str, device: str, started: str) -> dict[str, Any]:
    import torch

    from razor_cli import __version__
    from razor_cli.runs import provenance
    from razor_cli.runs.code import code_version

    return {
        "package_version": __version__,
        "code_version": code_version(family),
        "libraries": provenance.library_versions(),
        "device": device,
        "threads": torch.get_num_threads(),
        "pictures": request.pictures,
        "peak_rss_mb": round(provenance.peak_rss_mb()),
        "started": started,
        "finished": provenance.now(),
    }
