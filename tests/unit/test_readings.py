"""The readings table: it finds what was flipped without a label, and pairs it with the preset on the same
pictures.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from presets import merged, unfolded
from presets import preset as built
from reading_runs import record

from razor_cli.config.schema import build as schema_build
from razor_cli.config.schema import plain
from razor_cli.errors import Problem
from razor_cli.grid.blocks import chosen_blocks, points
from razor_cli.methods.razor import Razor
from razor_cli.runs.folder import complete_runs
from razor_cli.tables.base import FORMS, render
from razor_cli.tables.document import Panel
from razor_cli.tables.flipped_runs import FILES, readings
from razor_cli.tables.flips import flipped, preset_settings
from razor_cli.tables.readings import build, difference_cell, interval
from razor_cli.tables.tidy import entries


def table(folder: Path) -> list[Panel]:
    return build(complete_runs(folder)).panels


def cells(panel: Panel, switch: str) -> dict[str, str]:
    (row,) = [dict(zip(panel.columns, r, strict=True)) for r in panel.rows if r[0] == switch]
    return row


def test_a_preset_inherits_its_base() -> None:
    paper, ours = preset_settings("razor_paper"), preset_settings("razor")
    assert ours["alpha"] == paper["alpha"] and ours.keys() == paper.keys()
    assert "normalize" in flipped(ours, paper) and "name" not in flipped(ours, paper)
    assert flipped(ours, ours) == {}


def test_the_recorded_settings_of_a_preset_are_no_flip(tmp_path: Path) -> None:
    """What a run records went through the schema: 1 may have become 1.0, an enum its value."""
    for name in ("razor", "razor_paper"):
        assert flipped(plain(built(name)), preset_settings(name)) == {}
        assert flipped(plain(built(name, alpha=1, selector="random")), preset_settings(name)) == {
            "alpha": 1.0,
            "selector": "random",
        }


def test_flips_are_found_without_a_label_and_pairs_share_their_target(tmp_path: Path) -> None:
    record(tmp_path, m1=40.0)
    record(tmp_path, target="Quentin Marsh", m1=90.0)
    record(tmp_path, target="Quentin Marsh", changes={"alpha": 1.0}, m1=60.0)
    record(tmp_path, changes={"tau_mode": "topk", "tau": 4.0}, m1=44.0, passes=6000)
    (panel,) = table(tmp_path)
    assert {r[0] for r in panel.rows} == {"preset", "alpha", "tau, tau_mode"}
    assert cells(panel, "preset")["M1 mean ↓ %"] == "65.0" and cells(panel, "preset")["met"] == "1/2"
    alpha = cells(panel, "alpha")  # against its own target's 90, not the preset's mean of 65
    assert (alpha["value"], alpha["Δ M1 mean"], alpha["Δ missing"], alpha["met"]) == (
        "1",
        "-30.0",
        "-30.0",
        "0/1",
    )
    both = cells(panel, "tau, tau_mode")
    assert (both["value"], both["Δ M1 mean"], both["Δ passes"], both["pairs"]) == (
        "4, topk",
        "+4.0",
        "+2.5",
        "1",
    )


def test_rows_name_the_targets_that_others_have_and_they_lack(tmp_path: Path) -> None:
    record(tmp_path, m1=40.0)
    assert "without" not in table(tmp_path)[0].columns
    record(tmp_path, target="Quentin Marsh", m1=90.0)
    record(tmp_path, target="Quentin Marsh", changes={"alpha": 1.0}, m1=60.0)
    (panel,) = table(tmp_path)
    assert (cells(panel, "preset")["without"], cells(panel, "alpha")["without"]) == ("–", "Ada Quill")
    rows = list(entries(panel))
    assert {r["metric"] for r in rows if r["source"] == "difference"} == {
        *("missing", "M1 mean", "M5", "others' drop", "passes")
    }
    assert "met: 0/1; without: Ada Quill" in {str(r["note"]) for r in rows}


def test_each_goal_of_target_and_floor_is_a_switch_of_its_own(tmp_path: Path) -> None:
    ours = preset_settings("razor")
    record(tmp_path, m1=40.0)
    record(tmp_path, changes={"floor": ours["floor"] | {"m5": 97.0}}, m1=30.0)
    record(tmp_path, changes={"target": ours["target"] | {"m1": None, "m1_mean": 30.0}}, m1=20.0)
    (panel,) = table(tmp_path)
    assert {(r[0], r[1]) for r in panel.rows} == {
        ("preset", "razor"),
        ("floor.m5", "97"),
        ("target.m1, target.m1_mean", "null, 30"),
    }
    assert cells(panel, "floor.m5")["Δ M1 mean"] == "-10.0"


@pytest.mark.parametrize("other", [{"weights": "ef" * 32}, {"pictures": "ef" * 32}])
def test_other_weights_or_pictures_make_no_pair(tmp_path: Path, other: dict[str, str]) -> None:
    record(tmp_path)
    record(tmp_path, changes={"alpha": 1.0}, **other)
    panel = table(tmp_path)[0]
    assert (cells(panel, "alpha")["Δ M1 mean"], cells(panel, "alpha")["pairs"]) == ("–", "–")


def test_missing_points_add_up_what_each_bound_is_short_of(tmp_path: Path) -> None:
    record(tmp_path, m1=60.0, m5=96.5)  # 5 above 55, and 0.5 below 97
    (found,) = readings(complete_runs(tmp_path))
    assert found.values["missing"] == pytest.approx(5.5)


def test_rows_are_sorted_by_effect_and_the_conclusion_names_the_better_one(tmp_path: Path) -> None:
    for target, m1 in (("Ada Quill", 70.0), ("Quentin Marsh", 75.0), ("Zelda Thorne", 80.0)):
        record(tmp_path, target=target, m1=m1)
        record(tmp_path, target=target, m1=m1 + 9, changes={"alpha": 0.0})
        record(tmp_path, target=target, m1=m1 - 10 - (m1 - 75) / 5, changes={"alpha": 1.0})
        record(tmp_path, target=target, m1=m1 - 2 + (m1 - 75), changes={"rho": 1.0})
    document = build(complete_runs(tmp_path))
    assert [r[:2] for r in document.panels[0].rows] == [
        ("preset", "razor"),
        ("alpha", "1"),
        ("rho", "1"),
        ("alpha", "0"),
    ]
    assert document.panels[0].rows[1][-5].endswith("*") and not document.panels[0].rows[2][-5].endswith("*")
    (said,) = [n for n in document.notes if n.startswith("razor:")]
    assert "measurably nearer to the joint target: alpha=1 (-10.0, 3 pairs)" in said
    assert "within the noise: rho=1 (-2.0, 3 pairs)" in said and "alpha=0" not in said


def test_the_other_preset_stands_in_the_table_as_a_flip_of_every_switch(tmp_path: Path) -> None:
    record(tmp_path, m1=40.0)
    record(tmp_path, "razor_paper", m1=100.0)
    record(
        tmp_path, "razor_paper", changes={"name": "mine", "normalize": "unit"}, m1=80.0
    )  # by another name: the nearest preset
    paper, ours = table(tmp_path)
    assert paper.title.startswith("razor_paper") and ours.title.startswith("razor,")
    assert (
        cells(paper, "every switch")["Δ M1 mean"] == "-60.0"
        and cells(ours, "every switch")["Δ M1 mean"] == "+60.0"
    )
    assert cells(paper, "normalize")["Δ M1 mean"] == "-20.0"


def test_switches_of_the_first_attempt_are_compared_with_the_first_attempt(tmp_path: Path) -> None:
    """Further attempts rescue the preset here: against it every switch would look harmful."""
    once: dict[str, Any] = {"retries": []}
    record(tmp_path, m1=40.0)
    record(tmp_path, m1=90.0, changes=once)
    record(tmp_path, m1=70.0, changes=once | {"alpha": 1.0})
    record(tmp_path, "razor_paper", m1=100.0)
    paper, first = table(tmp_path)
    assert first.title.startswith("razor, one attempt, flipped")
    assert [r[:2] for r in first.rows[:3]] == [
        ("preset", "razor, one attempt"),
        ("every switch", "razor_paper"),
        ("retries", "razor"),
    ]
    assert cells(first, "alpha")["Δ M1 mean"] == "-20.0" and cells(first, "retries")["Δ M1 mean"] == "-50.0"
    assert [r[1] for r in paper.rows] == ["razor_paper", "razor, one attempt", "razor"]
    record(tmp_path, m1=50.0, changes={"alpha": 1.0})  # with all attempts: a panel of its own
    assert cells(table(tmp_path)[2], "alpha")["Δ M1 mean"] == "+10.0"


def test_the_last_of_equal_runs_counts(tmp_path: Path) -> None:
    record(tmp_path, m1=90.0, finished="2026-01-01T00:00:00.000+00:00")
    record(tmp_path, m1=30.0, finished="2026-01-03T00:00:00.000+00:00")
    record(tmp_path, m1=60.0, finished="2026-01-02T00:00:00.000+00:00")
    assert cells(table(tmp_path)[0], "preset")["M1 mean ↓ %"] == "30.0"


def test_runs_on_evaluation_pictures_and_of_other_methods_take_no_part(tmp_path: Path) -> None:
    record(tmp_path, judged_on="evaluation")
    record(tmp_path, kind="razor_cli.methods.slug.Slug")
    document = build(complete_runs(tmp_path))
    assert document.panels == [] and "experiment=readings" in document.notes[-1]


def test_several_models_are_also_pooled(tmp_path: Path) -> None:
    for model, weights in (("clip_tiny", "ab" * 32), ("clip_tiny_short", "ef" * 32)):
        record(tmp_path, model=model, weights=weights, m1=90.0)
        record(
            tmp_path,
            model=model,
            weights=weights,
            m1=60.0 if model == "clip_tiny" else 70.0,
            changes={"rho": 1.0},
        )
    panels = table(tmp_path)
    assert len(panels) == 3 and "all models" in panels[0].title and all("STAND-IN" in p.title for p in panels)
    assert [cells(p, "rho")["pairs"] for p in panels] == ["2", "1", "1"]
    assert cells(panels[0], "rho")["Δ M1 mean"].startswith("-25.0 ± 63.5")


def test_intervals_of_differences() -> None:
    assert interval([-10.0, -20.0]) == pytest.approx((-15.0, 63.531), abs=1e-3)
    assert interval([3.0]) == (3.0, None) and interval([2.0, 2.0]) == (2.0, None)
    assert (
        difference_cell([]) == "–" and difference_cell([0.0]) == "0.0" and difference_cell([-0.01]) == "0.0"
    )
    assert difference_cell([1.0, 1.1, 1.2]) == "+1.1 ± 0.2 *"


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_written(tmp_path: Path, form: str) -> None:
    record(tmp_path)
    record(tmp_path, changes={"alpha": 1.0})
    text = render(build(complete_runs(tmp_path)), form)
    assert "alpha" in text and ("STAND-IN" in text)


def test_every_point_of_the_experiment_is_a_reading_of_its_preset() -> None:
    found = chosen_blocks(["experiment=readings"])
    assert found is not None
    presets = {name: preset_settings(name) for name in ("razor", "razor_paper", "razor_bounded")}
    asked, flips = set(), set()
    for point in points(found[1]):
        assert (point["judged_on"], point["control"]) == ("validation", False)
        changes = {k.removeprefix("method."): v for k, v in point.items() if k.startswith("method.")}
        asked.add((point["method"].replace("/", "_"), json.dumps(changes)))
    for name, text in asked:
        problems: list[Problem] = []
        changes = json.loads(text)
        node = merged(presets[name], unfolded(changes))
        schema_build(Razor, node, "method", problems)  # refuses an unknown switch or value
        assert problems == []
        flips |= {(name, k) for k in flipped(node, presets[name])}
    switches = set(
        "alpha rho selector norm_power tau_mode tau lambda_forget lambda_mismatch mismatch_form mismatch_set "
        "forget_loss normalize granularity towers budget include_projections step_size search_return "
        "floor.m5 grow_rounds grow_update refresh_gradients trim_steps".split()
    )
    for preset in FILES:  # a switch that was renamed or that equals the preset anyway would vanish here
        assert {k for p, k in flips if p == preset} >= switches
    literal = flipped(presets["razor_bounded"], presets["razor_paper"])
    assert {k for p, k in flips if p == "razor_paper"} >= set(literal) and len(literal) == 5


def test_the_bounded_preset_is_a_row_of_the_literal_one(tmp_path: Path) -> None:
    record(tmp_path, "razor_paper", m1=100.0)
    record(tmp_path, "razor_bounded", m1=90.0)
    (panel,) = table(tmp_path)
    assert panel.title.startswith("razor_paper")
    row = cells(panel, "max_components, mismatch_at, must_improve, early_stop, retain_batch")
    assert (row["value"], row["Δ M1 mean"]) == ("8, stage, true, true, 128", "-10.0")


def test_names_and_classes_have_panels_of_their_own(tmp_path: Path) -> None:
    for scenario, target, m1 in (("identity", "Ada Quill", 60.0), ("class", "cat", 20.0)):
        record(tmp_path, target=target, scenario=scenario, m1=90.0)
        record(tmp_path, target=target, scenario=scenario, m1=m1, changes={"rho": 1.0})
    classes, names = table(tmp_path)
    assert classes.title.endswith("class cat") and names.title.endswith("identity Ada Quill")
    assert [cells(p, "rho")["Δ M1 mean"] for p in (classes, names)] == ["-70.0", "-30.0"]
