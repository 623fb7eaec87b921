"""What every command line owes its user, whatever it says: a documented exit code, words, and no file."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from razor_cli import main
from razor_cli.config.settings import Experiment

WORDED = ("ConfigError: ", "DataError: ", "WeightsError: ", "UserError: ", "usage: ")


@dataclass
class Answer:
    """What a command line came to."""

    code: int
    out: str
    err: str
    left: list[str]

    def wrong(self) -> str:
        """Return what is wrong with how it ended, or nothing."""
        text = self.out + self.err
        if self.code not in (0, 2):
            return f"exit code {self.code}"
        if "Traceback" in text or "hows the traceback" in text:
            return "not worded"
        if self.code == 2 and not any(word in text for word in WORDED):
            return "refused without a reason"
        return f"left {self.left}" if self.left else ""


def stop_before_weights(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """Put something in the place of runs that only remembers what it is asked for, and return that."""
    from razor_cli.grid import jobs, plan, points

    asked: list[Experiment] = []

    def perform(experiment: Experiment, *_: Any, **__: Any) -> tuple[Any, bool]:
        asked.append(experiment)
        verdict = SimpleNamespace(decision=SimpleNamespace(value="ACCEPTED"))
        record = SimpleNamespace(verdict=verdict, family="clip", settings={})
        return SimpleNamespace(scores=[], record=record, run_id="0123456789abcdef"), True

    def execute(experiment: Experiment) -> int:
        asked.append(experiment)
        return 0

    def listed(_: Any, __: Any, refused: list[Any], ___: Any) -> int:
        print(*(f"{type(r.error).__name__}: {r.error}" for r in refused))
        return 2 if refused else 0

    fake = ModuleType("razor_cli.run")
    fake.perform, fake.execute = perform, execute  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "razor_cli.run", fake)
    monkeypatch.setattr(points, "_pictures", lambda *_: {})
    monkeypatch.setattr(plan, "plan", listed)
    monkeypatch.setattr(jobs, "spread", lambda found, _, say: jobs.in_turn(found, say))
    return asked


def answer(words: list[str], folder: Path) -> Answer:
    """Return what `razor-run` answers to a command line, and the files that it left in the working folder."""
    before = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = main.run_command(words)
        except SystemExit as end:  # argparse's own refusals
            code = end.code if isinstance(end.code, int) else 1
    after = {p.relative_to(folder).as_posix() for p in folder.rglob("*")}
    return Answer(code, out.getvalue(), err.getvalue(), sorted(after - before))
