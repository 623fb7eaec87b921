"""Thousands of recorded runs are asked in seconds, from the index beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from razor_cli.runs.folder import complete_runs

sys.path += [str(Path(__file__).parents[2] / "scripts"), str(Path(__file__).parents[1] / "unit")]
import many_runs
from fake_runs import fake_run

LIMITS = {"query": 2.0, "show latest": 1.0, "tables table3": 8.0}  # seconds of processors


@pytest.mark.slow
def test_two_thousand_runs(tmp_path: Path) -> None:
    for method in ("razor", "slug", "none"):
        fake_run(tmp_path / "few", method=method)
    many_runs.multiply(complete_runs(tmp_path / "few"), tmp_path / "many", 2000)
    found = {what: cpu for what, _, cpu in many_runs.measure(tmp_path / "many")}
    assert {what: found[what] for what, most in LIMITS.items() if found[what] > most} == {}
