"""Acceptance of a model: does a checkpoint, as this project loads and edits it, behave as is published of it?

Each check is a row: what is expected, what was found, how far apart they are, and what to do about a
difference. Nothing here changes the weights it is given; what needs files works on copies in a folder that
goes away.
"""

from __future__ import annotations

import json
import logging
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.atomic import staged
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from razor_cli.acceptance.clip.known import Checkpoint
    from razor_cli.data.kinds.own import Folder
    from razor_cli.data.sets import ConceptSets
    from razor_cli.data.sources.cifar10 import Cifar10
    from razor_cli.families.clip.family import Clip
    from razor_cli.families.clip.spec import ClipSpec

PICTURES = 500  # photographs that zero-shot accuracy is measured on, unless asked otherwise


class Status(StrEnum):
    """How a check ended."""

    PASS = "pass"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class Check:
    """One row: a name, expected and found values as they are printed, and the reason and remedy where it did
    not pass.
    """

    name: str
    status: Status
    expected: str = ""
    found: str = ""
    deviation: str = ""
    why: str = ""
    fix: str = ""
    source: str = ""  # where the expected value comes from
    detail: str = ""  # recorded, not printed

    def __post_init__(self) -> None:
        if self.status is not Status.PASS and not self.why:
            raise ValueError(f"{self.name}: a check that did not pass needs a reason")


def judged(
    name: str,
    passed: bool,
    *,
    expected: str,
    found: str,
    why: str,
    fix: str,
    deviation: str = "",
    source: str = "",
    detail: str = "",
) -> Check:
    """Return a row that passed or failed; `why` and `fix` are kept for a failure only."""
    status = Status.PASS if passed else Status.FAIL
    return Check(
        name=name,
        status=status,
        expected=expected,
        found=found,
        deviation=deviation,
        source=source,
        detail=detail,
        why="" if passed else why,
        fix="" if passed else fix,
    )


def skipped(name: str, why: str, fix: str, *, expected: str = "", found: str = "") -> Check:
    """Return a row of a check that could not be made, with the reason and what would make it possible."""
    return Check(name=name, status=Status.SKIPPED, expected=expected, found=found, why=why, fix=fix)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be accepted, and with which pictures."""

    preset: str  # name of the file in conf/model
    model: ClipSpec
    data: Folder
    overrides: tuple[str, ...] = ()  # as typed, for the commands in the advice
    target: str | None = None  # concept of the small edits; None: one that the pictures have
    pictures: int = PICTURES
    random_weights: bool = False
    checkpoint: str | None = None  # ARCHITECTURE/TAG or TAG that a file is said to be
    output_dir: Path = Path("outputs")

    def command(self, *more: str) -> str:
        """Return the command line of this request with further words."""
        from razor_cli.config.overrides import shell_command

        flags = [f"--checkpoint {self.checkpoint}"] if self.checkpoint else []
        flags += ["--random-weights"] if self.random_weights else []
        words = shell_command([*self.overrides, *more], "").removeprefix("''").split(" ", 1)[1:]
        return " ".join(["razor doctor --acceptance", self.preset, *flags, *words])


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A loaded model, what it claims to be, and the pictures there are to try it on."""

    request: Request
    model: Clip
    architecture: str | None
    checkpoint: Checkpoint | None
    claim: str  # how it was decided which checkpoint this is
    sets: ConceptSets | None
    photographs: Cifar10 | None
    folder: Path  # for copies; removed at the end


@dataclass(frozen=True, kw_only=True)
class Report:
    """All checks of one model; it passes when none failed."""

    preset: str
    architecture: str | None
    checkpoint: str | None
    claim: str
    weights: str
    weights_hash: str
    stand_in: bool
    random_weights: bool
    checks: tuple[Check, ...]
    seconds: float
    conditions: dict[str, Any] = field(default_factory=dict)

    def count(self, status: Status) -> int:
        """Return how many checks ended so."""
        return sum(c.status is status for c in self.checks)

    @property
    def passed(self) -> bool:
        """Tell whether no check failed."""
        return self.count(Status.FAIL) == 0

    def write(self, path: Path) -> None:
        """Write the report as JSON, atomically."""
        counts = {s.value: self.count(s) for s in Status}
        content = {"kind": "acceptance", "passed": self.passed, "counts": counts, **asdict(self)}
        path.parent.mkdir(parents=True, exist_ok=True)
        with staged(path) as part:
            part.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8")
            part.replace(path)


def accept(request: Request, console: Console) -> Report:
    """Load the model, run every check, write OUTPUT_DIR/doctor/doctor.json and return the report.

    Raises UserError where there is nothing to check: no weights, weights that do not fit, pictures that
    cannot be read.
    """
    from razor_cli.acceptance.clip.random import write_random
    from razor_cli.acceptance.clip.subject import subject_of
    from razor_cli.progress import Progress
    from razor_cli.runs import provenance

    logging.getLogger("root").setLevel(logging.WARNING)  # open_clip logs to the root logger while it loads
    started, clock = provenance.now(), time.perf_counter()
    home, progress = request.output_dir / "doctor", Progress(console)
    with _workplace(home) as folder:
        weights = request.model.weights
        if request.random_weights:
            with progress.stage("writing random weights"):
                weights = str(write_random(request.model, folder / "random.safetensors"))
        with progress.stage(f"loading {request.model.name}"):
            subject = subject_of(request, weights, folder)
        checks = _checks(subject, progress)
        report = Report(
            preset=request.preset,
            architecture=subject.architecture,
            claim=subject.claim,
            weights=subject.model.source,
            checkpoint=subject.checkpoint.name if subject.checkpoint else None,
            weights_hash=subject.model.weights_hash(),
            stand_in=request.model.stand_in,
            random_weights=request.random_weights,
            checks=tuple(checks),
            seconds=time.perf_counter() - clock,
            conditions=_conditions(subject, started),
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
        home.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(prefix=".acceptance-", dir=home)
    except OSError as error:
        raise ConfigError(
            f"output_dir: cannot write in '{home}'", found=error, fix="output_dir=DIR, a folder of yours"
        ) from error
    try:
        with temporary as name:
            yield Path(name)
    finally:
        for folder in new:
            with suppress(OSError):  # not empty: it holds something by now
                folder.rmdir()


def _checks(subject: Subject, progress: Any) -> list[Check]:
    """Run every group of checks; one that breaks down is a failed check, and the others still run."""
    from razor_cli.acceptance.clip import edit, weights, zero_shot

    groups: Sequence[tuple[str, Callable[[Subject, Callable[[str], None]], list[Check]]]] = (
        ("weights", weights.checks),
        ("embeddings", zero_shot.embedding_checks),
        ("zero-shot CIFAR-10", zero_shot.checks),
        ("small edits", edit.checks),
        ("a patch", edit.patch_checks),
    )
    found: list[Check] = []
    for title, group in groups:
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


def _conditions(subject: Subject, started: str) -> dict[str, Any]:
    import torch

    from razor_cli import __version__
    from razor_cli.runs import provenance
    from razor_cli.runs.code import code_version

    return {
        "package_version": __version__,
        "code_version": code_version(subject.model.family),
        "libraries": provenance.library_versions(),
        "device": subject.model.device,
        "threads": torch.get_num_threads(),
        "pictures": subject.request.pictures,
        "peak_rss_mb": round(provenance.peak_rss_mb()),
        "started": started,
        "finished": provenance.now(),
    }
