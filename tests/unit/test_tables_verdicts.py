"""The table of verdicts: it judges as a run does, and every cell says what decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_runs import fake_run, measured, percent, scored

from razor_cli.main import razor_command
from razor_cli.runs.folder import complete_runs
from razor_cli.runs.judged import by_bounds
from razor_cli.tables import score_file, verdicts
from razor_cli.tables.base import render

BOUNDS: dict[str, dict[str, Any]] = {
    "forgot": {"metric": "m1", "variant": "dual/mean_of_classes", "at_most": 55},
    "kept": {"metric": "m5", "variant": "retrieval/base", "at_least": 94},
}


def asked(bounds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    return {"more": {"scenario": {"acceptance": bounds}}, "control": False}


def test_rows_say_what_the_verdict_of_the_run_says(tmp_path: Path) -> None:
    run = fake_run(tmp_path, target="Ada Quill", **asked(BOUNDS))
    (panel,) = verdicts.build(complete_runs(tmp_path)).panels
    decision = by_bounds(run, BOUNDS)
    (row,) = panel.rows
    assert decision is not None and row[-1] == decision.decision.value
    assert row[:5] == ("razor", "Ada Quill", "0", run.run_id[:8], "none, int8, int4")
    forgot, kept = row[5:7]
    assert forgot == "4.5 [1.2, 7.8]" and kept == "96.0 [92.8, 99.2] ?"  # its interval reaches below 94
    assert panel.columns[5:7] == ("forgot: m1 at most 55", "kept: m5 at least 94")


def test_a_bound_that_is_missed_and_one_without_anything_to_forget_are_marked(tmp_path: Path) -> None:
    missed = {"kept": BOUNDS["kept"] | {"at_least": 99.9}}
    fake_run(tmp_path / "missed", **asked(missed))
    (panel,) = verdicts.build(complete_runs(tmp_path / "missed")).panels
    assert panel.rows[0][5].endswith(" ✗") and panel.rows[0][-1] == "REJECTED"

    unknown = percent("m1", "multiclass", "down", 4.0)  # as rare before the edit as after it
    extra = {(s, q): [unknown] for s in ("base", "edit") for q in ("none", "int8", "int4")}
    bound = {"forgot": {"metric": "m1", "variant": "multiclass", "at_most": 55}}
    fake_run(tmp_path / "unknown", extra=extra, **asked(bound))
    (panel,) = verdicts.build(complete_runs(tmp_path / "unknown")).panels
    assert panel.rows[0][5] == "4.0 [0.8, 7.2] ?" and panel.rows[0][-1] == "UNDECIDED"


def test_a_width_that_ends_in_another_way_is_told(tmp_path: Path) -> None:
    worse = {"forgot": BOUNDS["forgot"] | {"at_most": 8}}  # 4.5 [1.2, 7.8], at int4 6.0 [2.8, 9.2]
    fake_run(tmp_path, **asked(worse))
    (panel,) = verdicts.build(complete_runs(tmp_path)).panels
    assert panel.rows[0][5] == "4.5 [1.2, 7.8]; int4 6.0 [2.8, 9.2] ?"


def test_other_bounds_and_validation_pictures_make_panels_of_their_own(tmp_path: Path) -> None:
    fake_run(tmp_path, target="Ada Quill", **asked(BOUNDS))
    fake_run(tmp_path, target="Tom Brack", **asked(BOUNDS))
    fake_run(tmp_path, target="Mona Lisa", **asked({"kept": BOUNDS["kept"]}))
    fake_run(tmp_path, target="Nils Abernath", judged_on="validation", **asked(BOUNDS))
    fake_run(tmp_path, target="Ola Fenn")  # recorded without a bound
    document = verdicts.build(complete_runs(tmp_path))
    targets = [[row[1] for row in panel.rows if row[1]] for panel in document.panels]
    assert sorted(map(sorted, targets)) == [["Ada Quill", "Tom Brack"], ["Mona Lisa"], ["Nils Abernath"]]
    assert document.notes[-1] == "1 runs were recorded without a bound."


def test_a_score_file_gives_the_same_table(tmp_path: Path) -> None:
    fake_run(tmp_path, **asked(BOUNDS))
    file = tmp_path / "scores.csv.gz"
    score_file.save(file, complete_runs(tmp_path))
    kept, runs = (verdicts.build(found) for found in (score_file.load(file), complete_runs(tmp_path)))
    assert render(kept, "md") == render(runs, "md") and len(measured("edit", "none", 0.0)) > 2


def test_rows_of_runs_name_their_settings_and_wide_tables_are_not_poured_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    many = [scored((f"metric_{i}", "variant", "%", "down"), 1.0, 0.5, 1.5, n=9) for i in range(60)]
    for share in (0.1, 0.8):
        settings = {"share": share}
        fake_run(tmp_path, method="push", flips=settings, extra={("edit", "none"): many}, **asked(BOUNDS))
    (panel,) = verdicts.build(complete_runs(tmp_path)).panels
    assert [row[0] for row in panel.rows] == ["push (share=0.1)", "push (share=0.8)"]
    assert razor_command(["tables", "measured", "--output-dir", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "Taylor Swift" in text and "razor tables compare" in text and "metric_59" not in text
    assert f"open {tmp_path}/tables/measured.html" in text
    assert razor_command(["tables", "measured", "--output-dir", str(tmp_path), "--format", "md"]) == 0
    text = capsys.readouterr().out
    assert "push (share=0.8) | 0 | edit |" in text and "metric_59" in text
