"""The table of several targets in one run: which metric each column shows, and how sure its numbers are."""

from __future__ import annotations

from pathlib import Path

from fake_runs import fake_run, percent

from razor_cli.report.exported import as_markdown
from razor_cli.runs.folder import Run
from razor_cli.tables.tidy import entries
from razor_cli.tables.turns import build

VALUES = {"base": (99.0, 98.0), "step_1": (1.0, 97.0), "edit": (2.0, 3.0)}


def record(folder: Path, names: tuple[str, str], target: str) -> Run:
    scores = {
        (state, "none"): [percent("m1_name", n, "down", v) for n, v in zip(names, values, strict=True)]
        for state, values in VALUES.items()
    }
    return fake_run(folder, target=target, extra=scores)


def test_columns_name_target_metric_and_unit_and_cells_their_interval(tmp_path: Path) -> None:
    (panel,) = build([record(tmp_path, ("Ada", "Bo"), "Ada + Bo")]).panels
    assert panel.columns[5:8] == ("Ada: M1 ↓ %", "Bo: M1 ↓ %", "M4 generic ↑ %")
    (step,) = (dict(zip(panel.columns, row, strict=True)) for row in panel.rows if row[4] == "1: Ada")
    assert step["targets"] == "in turn" and step["Ada: M1 ↓ %"] == "1.0 [0.0, 4.2]"
    found = [e for e in entries(panel) if e["metric"] == "m1_name" and e["variant"] == "Bo"]
    assert sorted((e["value"], e["unit"]) for e in found) == [(3.0, "%"), (97.0, "%"), (98.0, "%")]


def test_targets_stand_in_the_order_of_their_edits_whatever_that_of_their_scores(tmp_path: Path) -> None:
    run = record(tmp_path, ("Bo", "Ada"), "Ada + Bo")
    (panel,) = build([run]).panels
    assert panel.columns[5:7] == ("Ada: M1 ↓ %", "Bo: M1 ↓ %")
    assert {row[4]: row[5][:2] for row in panel.rows}["1: Ada"] == "97"  # the second score of each state
    lines = as_markdown(run).splitlines()
    assert next(line for line in lines if line.startswith("1: Ada")).split()[2] == "97.0"
