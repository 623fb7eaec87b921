"""Acceptance of a model: does a checkpoint, as this project loads and edits it, behave as is published of it?

Each check is a row: what is expected, what was found, how far apart they are, and what to do about a
difference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from razor_cli.atomic import staged
from razor_cli.escape import in_json

if TYPE_CHECKING:
    from razor_cli.contract.spec import Spec
    from razor_cli.data.kinds.own import Folder

Say = Callable[[str], None]
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

    def noting(self, detail: str) -> Check:
        """Return the row with something that is recorded and not printed."""
        return replace(self, detail=detail)


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
    model: Spec
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
            part.write_text(in_json(content, indent=1), encoding="utf-8")
            part.replace(path)
