"""The bench of costs at full size, on tiny nets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts"))
    import bench_sd

    return bench_sd


@pytest.mark.slow
def test_the_tiny_form_says_it_is_reduced_and_counts_times_units_are_the_totals(
    bench: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["bench_sd.py", "--small"])
    assert bench.main() == 0
    said = capsys.readouterr().out
    assert said.startswith("REDUCED") and "(reduced), s" in said and bench.PAPER.name not in said
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in said.splitlines() if line.startswith("| ")]
    units = {r[0]: float(r[1]) for r in rows if len(r) == 4 and not r[0].startswith("unit")}
    methods = [r for r in rows if len(r) == 7 and r[0] != "method"]
    file = Path(bench.tables.__file__).with_name("published") / "razor_table5.csv"
    with file.open(encoding="utf-8", newline="") as lines:
        wanted = {row["method"] for row in csv.DictReader(lines)}
    assert {r[0].partition(",")[0] for r in methods} == wanted and len(wanted) == 7
    for row in methods:
        parts = [p.split(" x ") for p in row[1].split(", ")]
        found = sum(int(n.replace(",", "")) * units[unit] for n, unit in parts)
        assert float(row[2]) == pytest.approx(found, rel=2e-3)
        assert float(row[4]) >= 0
