"""Which runs stand in a row of a table, and what may be concluded from them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fake_runs import COST, as_format, as_format_1, fake_run

from razor_cli.main import razor_command
from razor_cli.runs.folder import complete_runs
from razor_cli.tables import compare, layout, table3
from razor_cli.tables.document import Panel
from razor_cli.tables.layout import Line, best, compared, units
from razor_cli.tables.selection import Measure, Sample, by_model, conditions, sample, usable, versions

DOWN = Measure(key="m1", title="M1", unit="%", metric="m1", variant="dual/mean_of_classes", direction="down")
ZERO = Measure(key="rec", title="recovery", unit="", metric="rec", direction="zero")
LATER = "2026-09-01T00:00:00.000+00:00"


def cells(panel: Panel, method: str, width: str) -> dict[str, str]:
    (row,) = (r for r in panel.rows if r[:2] == (method, width))
    return dict(zip(panel.columns, row, strict=True))


def test_a_later_run_in_full_precision_does_not_take_the_quantized_rows_away(tmp_path: Path) -> None:
    fake_run(tmp_path)
    fake_run(tmp_path, quantizations=("none",), control=False, finished=LATER)
    (panel, _) = [
        p
        for p in table3.build(complete_runs(tmp_path)).panels
        if "portraits" in p.title and "STAND-IN" in p.title
    ]
    assert (
        cells(panel, "razor", "4bit")["measured M1 ↓ %"] == "6.00"
        and cells(panel, "razor", "none")["runs"] == "1"
    )


def test_settings_of_an_own_method_have_rows_of_their_own(tmp_path: Path) -> None:
    """No preset of `push` ships, so none of its settings may stand for it, least of all the last one run."""
    fake_run(tmp_path, method="push", flips={"share": 0.3, "floor": {"m5": 97.0}})
    for k, (share, least) in enumerate([(0.3, 97.0), (0.8, 97.0), (0.8, 90.0)]):
        settings = {"share": share, "floor": {"m5": least}}
        fake_run(tmp_path, method="push", target="Elon Musk", flips=settings, offset=k, finished=LATER)
    fake_run(tmp_path, method="dampen", flips={"heads": 2})
    document = compare.build(complete_runs(tmp_path))
    found = {row[0]: (row[1], row[-1]) for row in document.panels[0].rows if row[-1] != "0"}
    assert found == {
        "unedited": ("96.50", "2"),
        "dampen": ("4.50", "1"),  # one setting needs no more than the name
        "push (share=0.3, floor.m5=97)": ("4.50", "2"),
        "push (share=0.8, floor.m5=97)": ("5.50", "1"),
        "push (share=0.8, floor.m5=90)": ("6.50", "1"),
    }
    assert sum("row for each of its settings" in note for note in document.notes) == 1


def test_runs_of_an_earlier_version_of_the_code_are_replaced_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_run(tmp_path)
    fake_run(tmp_path, quantizations=("none",), finished=LATER)
    runs = complete_runs(tmp_path)
    assert len(usable(runs)) == 2
    newer = max(runs, key=lambda r: r.record.provenance.finished)
    origin = newer.record.provenance.model_copy(update={"code_version": "beef" * 4})
    monkeypatch.setattr(newer, "record", newer.record.model_copy(update={"provenance": origin}))
    assert usable(runs) == [newer]


def test_runs_recorded_in_another_format_are_left_out_with_one_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        as_format_1(fake_run(tmp_path, seed=seed))
    as_format(fake_run(tmp_path, seed=2), 2)  # has the columns of today's
    fake_run(tmp_path, seed=3)
    assert razor_command(["tables", "all", "--output-dir", str(tmp_path), "--out", str(tmp_path / "t")]) == 0
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "2 runs are left out: their records are of another format; `razor show` prints them"
    ]
    rows = [r for r in (tmp_path / "t/table3.md").read_text().splitlines() if r.startswith("| razor | none")]
    assert len(rows) == 1 and "| 2 |" in rows[0]


def test_inherited_data_settings_are_conditions(tmp_path: Path) -> None:
    def run(kind: str, **data: Any) -> tuple[str, ...]:
        return conditions(fake_run(tmp_path, data=kind, more={"data": {"kind": kind, **data}}))

    assert run("imgnetdogs", n_forget=50) == (
        "data.n_forget=50",
    )  # imgnetdogs.yaml has it from labelled.yaml
    assert run("imgnetdogs", n_forget=50, root="/a/dogs") != run("imgnetdogs", n_forget=50, root="/b/dogs")
    assert not any("/" in word for word in run("imgnetdogs", n_forget=50, root="/a/dogs"))
    assert run("portraits") == ()


def test_the_class_of_a_data_setting_is_no_condition(tmp_path: Path) -> None:
    recorded = {"_target_": "StandIn", "n_forget": 16}  # a run records its classes by their short names
    run = fake_run(tmp_path, data="portraits", more={"data": recorded})
    assert conditions(run) == ("data.n_forget=16",)


@pytest.mark.parametrize("more", [{"metrics": {"qu_cap": False}}, {"data": {"kind": "standin", "seed": 3}}])
def test_other_metrics_and_draws_are_conditions(tmp_path: Path, more: dict[str, Any]) -> None:
    fake_run(tmp_path)
    fake_run(tmp_path, more=more, finished=LATER)
    assert len(usable(complete_runs(tmp_path))) == 2 and len(by_model(complete_runs(tmp_path))) == 2


def test_time_that_depends_on_the_order_of_runs_is_compared_with_nothing(tmp_path: Path) -> None:
    for k, target in enumerate(("Elon Musk", "Taylor Swift", "Lady Gaga")):
        fake_run(tmp_path, target=target, seed=k)
        cached = replace(COST, seconds=0.1, forwards=0, backwards=0, gradient_cache_hits=1)
        fake_run(tmp_path, target=target, seed=k, method="push", cost=cached, patch_bytes=3)
    cost = next(p for p in compare.build(complete_runs(tmp_path)).panels if p.title.startswith("cost"))
    (push,) = (dict(zip(cost.columns, row, strict=True)) for row in cost.rows if row[0] == "push")
    assert push["gradients cached"] == "1.0 ± 0.0" and push["edit ↓ s"] == "0.1 ± 0.0"
    assert push["vs razor"] == "edit's memory ≈, patch +"
    assert not any(cost.columns[j].startswith(("edit ↓", "forward", "backward")) for _, j in cost.bold)


def test_a_results_folder_that_is_not_there_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "nowhere"
    assert razor_command(["tables", "table3", "--output-dir", str(place)]) == 2
    assert "no complete run is recorded under" in capsys.readouterr().err and not place.exists()


def test_settings_of_an_own_kind_of_data_are_conditions(tmp_path: Path) -> None:
    """No file of `birds` ships, so each of its settings keeps runs apart."""
    for count in (8, 16):
        recorded = {"_target_": "Birds", "n_forget": count, "root": None, "pictures": "/a/birds"}
        fake_run(tmp_path, data="birds", more={"data": recorded})
    titles = by_model(usable(complete_runs(tmp_path)))
    assert [t.partition(" (")[0] for t in titles] == [
        f"clip_tiny STAND-IN, birds, data.n_forget={n}, data.pictures=birds" for n in (16, 8)
    ]


def test_own_pictures_share_no_row_with_the_papers_data(tmp_path: Path) -> None:
    real: dict[str, Any] = {"model": "clip_vitb32", "stand_in": False, "scenario": "class"}
    for kind, target, offset in (
        ("cifar10", "dog", 0.0),
        ("imagenet", "tench", 10.0),
        ("folder", "dog", 20.0),
    ):
        fake_run(tmp_path, data=kind, target=target, offset=offset, **real)
    panels = {p.title: p for p in table3.build(complete_runs(tmp_path)).panels if "clip_vitb32" in p.title}
    found = {t: cells(p, "razor", "none") for t, p in panels.items() if not t.startswith("Random")}
    assert [t.split(" | ")[0] for t in found] == [
        "CIFAR-10 as published",
        "ImageNet as published",
        "scenario=class",
    ]
    assert [c.get("measured M1 ↓ %", c.get("M1 ↓ %")) for c in found.values()] == ["4.50", "14.50", "24.50"]


def test_quantized_printed_cells_are_marked_and_take_no_part(tmp_path: Path) -> None:
    for seed in range(2):
        fake_run(tmp_path, seed=seed)
        fake_run(tmp_path, seed=seed, method="ssd", offset=3.0)
    (panel,) = (p for p in table3.build(complete_runs(tmp_path)).panels if p.title.startswith("LAION"))
    full, low = cells(panel, "ssd", "none"), cells(panel, "ssd", "4bit")
    assert low["published M1 ↓ %"].endswith("?") and not full["published M1 ↓ %"].endswith("?")
    assert low["Δ M1"] == "–" and full["Δ M1"] != "–"
    assert (
        low["vs razor"].startswith("M1 −,") and full["vs razor"].startswith("M1 −→−") and low["agree"] == "–"
    )


# What may be concluded


def of(values: dict[str, list[float]]) -> Sample:
    return {(target, seed): v for target, own in values.items() for seed, v in enumerate(own)}


def test_targets_count_and_not_their_seeds() -> None:
    assert units(of({"a": [1.0, 3.0], "b": [6.0]})) == [2.0, 6.0]
    assert units(of({"a": [1.0, 3.0]})) == [1.0, 3.0]
    assert units({}) == []


def test_a_single_pair_tells_nothing() -> None:
    assert compared(DOWN, of({"a": [1.0]}), of({"a": [90.0]})) == ""
    assert compared(DOWN, of({"a": [1.0, 2.0]}), of({"a": [90.0, 80.0]})) == "+"
    assert compared(DOWN, of({"a": [1.0], "b": [50.0]}), of({"a": [90.0], "b": [51.0]})) == "≈"


def test_seeds_of_one_good_target_do_not_make_a_method_better() -> None:
    own, other = of({"a": [1.0] * 5, "b": [50.0] * 5}), of({"a": [90.0] * 5, "b": [50.0] * 5})
    assert compared(DOWN, own, other) == "≈"


def lines(*samples: list[float]) -> list[Line]:
    return [
        Line(labels=(str(i),), name=str(i), samples={"m1": of({"a": s}), "rec": of({"a": s})})
        for i, s in enumerate(samples)
    ]


def test_bold_needs_an_interval_apart_from_every_other() -> None:
    good, worse = [10.4, 10.5, 10.6, 10.5], [15.4, 15.5, 15.6, 15.5]
    assert best(lines(good, worse), [DOWN]) == {(0, 0)}
    assert best(lines(good, worse, [2.0, 40.0, 1.0, 30.0]), [DOWN]) == set()  # the third reaches across
    assert best(lines(good, worse, [99.0]), [DOWN]) == set()  # a single value has no interval


def test_towards_zero_counts_sizes_and_not_their_mean() -> None:
    assert best(lines([-20.0, 20.0, -20.1, 20.1], [0.30, 0.31, 0.30, 0.31]), [ZERO]) == {(1, 0)}


def test_samples_merge_runs_of_one_point(tmp_path: Path) -> None:
    fake_run(tmp_path, quantizations=("none", "int4"))
    fake_run(tmp_path, quantizations=("none",), finished=LATER)
    runs = usable(complete_runs(tmp_path))
    assert len(runs) == 2 and sample(runs, DOWN, quantization="int4") == {("Taylor Swift", 0): 6.0}
    assert layout.mean_cell(units(sample(runs, DOWN))) == "4.50"


def test_versions_are_those_of_one_method(tmp_path: Path) -> None:
    def made(method: str, code: str, target: str) -> Any:
        record = fake_run(tmp_path, method=method, target=target).record
        changed = record.provenance.model_copy(update={"code_version": code})
        return SimpleNamespace(record=record.model_copy(update={"provenance": changed}))

    apart = [made("razor", "1", "Ada"), made("slug", "2", "Ada")]
    assert versions(apart) == []
    (note,) = versions([*apart, made("slug", "3", "Bo")])
    assert note.startswith("Runs of slug were computed by several versions")
