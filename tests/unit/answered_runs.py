"""Recorded runs of models that answer, with invented numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fake_runs import fake_run, scored

from razor_cli.metrics.score import Score
from razor_cli.runs.folder import Run

STATES = ("base", "control", "edit")
FA = {"base": 98.0, "control": 97.0}


def score(metric: str, variant: str, value: float, direction: str = "up", unit: str = "%") -> Score:
    return scored((metric, variant, unit, direction), value, None, None, n=200)


def answers(fa: float, kept: float, *, shaped: bool, naming: str = "multi/full") -> list[Score]:
    """Return the scores of one state; `kept` is what all else comes to."""
    ending = "_shaped" if shaped else ""
    wording = "taught_text" if shaped else "letter"
    return [
        score("fa", naming, fa, "down"),
        score("fa_first", "paper/full", fa + 1, "down"),
        score("retain_fa", naming, kept),
        score("retain_fa_drop", f"{naming}/base", 100 - kept, "down"),
        score("near", naming, kept - 10),
        score("unnamed", "", 60.0),
        score(f"mme{ending}", "prefix4/cognition", 3 * kept, unit="score"),
        score(f"mme{ending}", "prefix4/perception", 13 * kept, unit="score"),
        score(f"mme{ending}", "prefix4/perception_without_celebrity", 12 * kept, unit="score"),
        score(f"mme{ending}_drop", "prefix4/perception/base", 100 - kept, "down", "points"),
        score(f"gqa{ending}", "ignore_case_punct/accuracy", kept),
        score(f"mmbench{ending}", f"{wording}/score", kept - 20),
        score("answers_loss", "yes_no", 100 - kept, "down"),
        score("rec", f"fa/{naming}", 0.25),
    ]


def answered(outputs: Path, target: str, method: str, fa: float, kept: float = 96.0, **asked: Any) -> Run:
    """Record one run of the stand-in, or of what `asked` says."""
    shaped = asked.get("stand_in", True)
    naming = asked.pop("naming", "multi/full")
    widths = asked.pop("quantizations", ("none",))
    extra: Mapping[tuple[str, str], list[Score]] = {
        (state, width): answers(FA.get(state, fa) + i, kept - i, shaped=shaped, naming=naming)
        for state in STATES
        for i, width in enumerate(widths)
    }
    known = {"family": "llava", "model": "llava_tiny", "data": "portraits", "scenario": "identity"}
    return fake_run(
        outputs, target=target, method=method, quantizations=widths, extra=extra, **(known | asked)
    )
