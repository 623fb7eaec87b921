"""Tables 4 and 5 and SLUG's slide: published numbers beside recorded runs, costs of fresh runs only, the
trade-off score under every rule.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from canvas_runs import drew
from fake_runs import COST

from razor_cli.contract.cost import Cost
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.tables import table5, tradeoff
from razor_cli.tables.base import render
from razor_cli.tables.canvas_printed import METHODS, SLIDE
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.registry import builder
from razor_cli.tables.selection import published
from razor_cli.tables.tidy import entries

FRESH = {"fresh": True}


def panel(document: Document, beginning: str) -> Panel:
    (found,) = (p for p in document.panels if p.title.startswith(beginning))
    return found


def row(found: Panel, *labels: str) -> dict[str, str]:
    (cells,) = (r for r in found.rows if r[: len(labels)] == labels)
    return dict(zip(found.columns, cells, strict=True))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("canvas")
    for target, ua in (("Noto", 90.0), ("Fluent", 100.0)):
        drew(folder, target, "razor", ua)
        drew(folder, target, "uce", ua - 40)
    drew(folder, "Noto", "razor", 99.0, model="sd3_tiny")
    drew(folder, "Noto", "razor", 50.0, model="mine", stand_in=False)
    drew(folder, "Noto", "fmn_canvas_style", 70.0, more=FRESH)
    drew(folder, "Cats", "fmn_canvas_object", 60.0, scenario="object", more=FRESH)
    cost = Cost(**{**vars(COST), "seconds": 20.0, "peak_mb": 2048.0})
    for task, target in (("style", "Noto"), ("object", "Cats")):
        drew(folder, target, "razor", 80.0, scenario=task, more=FRESH, cost=cost, patch_bytes=2**20)
        drew(folder, target, "seot", 60.0, scenario=task, more=FRESH, patch_bytes=None)
    drew(folder, "Noto", "razor", 5.0, family="clip")
    return complete_runs(folder)


def test_published_cells_stand_beside_measured_ones_of_the_same_model(runs: list[Run]) -> None:
    document = builder("table4")(runs)
    style = panel(document, "SD v1.5, style, as published | sd_tiny STAND-IN: 2 targets (Fluent, Noto)")
    uce = row(style, "UCE", "uce")
    assert uce["published UA ↑ %"] == "98.40" and uce["measured UA ↑ %"].startswith("55.00")
    assert uce["measured valid UA ↑ %"].startswith("54.00") and uce["measured near it ↑ %"] == "93.00"
    assert row(style, "FMN", "fmn_canvas")["measured UA ↑ %"] == "70.00"
    assert row(style, "unedited")["measured IRA ↑ %"].startswith("99.00")
    esd = row(style, "ESD")
    assert esd["published IRA ↑ %"] == "80.97" and esd["measured UA ↑ %"] == (
        "no run recorded: razor-run experiment=table4 model=sd_tiny scenario=style method=esd"
    )
    other = panel(document, "SD3, style, as published | sd3_tiny STAND-IN")
    assert row(other, "RAZOR", "razor")["published UA ↑ %"] == "99.40"
    mine = panel(document, "scenario=style | mine")
    assert not [c for c in mine.columns if c.startswith("published")]
    assert row(mine, "RAZOR", "razor")["UA ↑ %"] == "50.00"


@pytest.mark.parametrize("name", ["table4", "table5", "slug_unlearncanvas"])
def test_every_printed_cell_stands_there_and_what_is_missing_names_its_command(name: str) -> None:
    document = builder(name)([])
    text = render(document, "md")
    file = {"table4": "razor_table4", "table5": "razor_table5"}.get(name, name)
    cells = {c for p in document.panels for r in p.rows for c in r}
    for printed in published(file):
        numbers = [v for k, v in printed.items() if k not in {"model", "task", "method", "tradeoff"}]
        assert set(numbers) <= cells, printed
    methods = SLIDE if name == "slug_unlearncanvas" else METHODS
    for method in methods:
        assert f"razor-run experiment={name} model=sd_tiny " in text and f"method={method.lower()} |" in text
    assert "nothing measured" in text


def test_costs_come_from_fresh_runs_alone(runs: list[Run]) -> None:
    document = builder("table5")(runs)
    costs = panel(document, "Costs as published | sd_tiny")
    razor = row(costs, "RAZOR", "razor")
    assert razor["measured time ↓ s"] == "20.0" and razor["published time ↓ s"] == "78"
    assert razor["measured memory of the process ↓ GB"].startswith("2.00")
    assert razor["measured storage ↓ GB"].startswith("0.00098")
    uce = row(costs, "UCE")
    assert uce["authors' code today ↓ s"] == "< 1" and "experiment=table5" in uce["measured time ↓ s"]
    assert any("Left out: 4 runs without fresh=true." in n for n in document.notes)
    scores = panel(document, "Trade-off score as measured")
    six = (80 + 95 + 96) / 3
    score = six / ((20 + 2 + 2**-10) / 3)
    assert row(scores, "razor")["literal, seconds ↑"] == f"{score:.3f}"
    assert row(scores, "fmn_canvas")["mean of six accuracies ↑ %"] == "85.33"


def test_memory_of_a_gpu_is_named(tmp_path: Path) -> None:
    cost = Cost(**{**vars(COST), "device_mb": 4096.0})
    drew(tmp_path, "Noto", "razor", 80.0, more=FRESH, cost=cost, model="sd15", stand_in=False)
    costs = panel(builder("table5")(complete_runs(tmp_path)), "Costs as published | sd15")
    assert row(costs, "RAZOR")["measured memory of the GPU ↓ GB"] == "4.00"


SHEET = {  # as whoever copied the tables recomputed them
    "literal, seconds": (0.038, 0.540, 0.425, 0.155, 0.395, 5.786, 3.580),
    "minutes": (1.865, 7.188, 13.349, 4.269, 6.039, 57.508, 52.973),
    "hours": (9.778, 9.046, 27.069, 7.669, 7.926, 67.576, 68.789),
    "log10 of seconds": (8.99, 8.15, 19.85, 7.06, 7.37, 47.16, 47.88),
}


@pytest.mark.parametrize("rule", SHEET)
def test_no_rule_gives_the_printed_column(rule: str) -> None:
    order = ("ESD", "FMN", "UCE", "EDiff", "SalUn", "SLUG", "RAZOR")
    found = tradeoff.scores(table5.published_accuracy(), table5.published_costs(), tradeoff.RULES[rule])
    assert [found[m] for m in order] == pytest.approx(SHEET[rule], abs=0.006)
    printed = {r["method"]: float(r["tradeoff"]) for r in published("razor_table5")}
    assert max(abs(found[m] / printed[m] - 1) for m in order) > 0.15


def test_the_first_of_each_rule_is_bold_and_the_literal_one_comes_first() -> None:
    found = panel(builder("table5")([]), "Trade-off score of the printed numbers")
    assert found.columns[:5] == (
        "method",
        "mean of six accuracies ↑ %",
        "printed ↑",
        "literal, seconds ↑",
        "hours ↑",
    )
    first = {found.columns[j]: found.rows[i][0] for i, j in found.bold}
    assert first["literal, seconds ↑"] == first["shares of the largest ↑"] == "SLUG"
    assert first["geometric mean ↑"] == "SLUG" and first["hours ↑"] == "RAZOR"
    assert row(found, "RAZOR")["printed ↑"] == "66.86?"
    free = tradeoff.Costs(seconds=0.0, memory=1.0, storage=0.0)
    assert "m" not in tradeoff.scores({"m": 1.0}, {"m": free}, tradeoff.RULES["geometric mean"])
    assert "m" not in tradeoff.scores({"m": 1.0}, {"m": free}, tradeoff.RULES["log10 of seconds"])


def test_trade_off_scores_name_the_targets_they_lack_and_a_tie_is_not_bold(tmp_path: Path) -> None:
    for method, targets in (("razor", ("Noto", "Fluent")), ("slug", ("Noto", "Fluent")), ("uce", ("Noto",))):
        for task, target in (*(("style", t) for t in targets), ("object", "Cats")):
            drew(tmp_path, target, method, 80.0, scenario=task, more=FRESH)
    made = panel(builder("table5")(complete_runs(tmp_path)), "Trade-off score as measured")
    without = {cells[0]: cells[made.columns.index("without")] for cells in made.rows}
    assert without == {"razor": "–", "slug": "–", "uce": "style Fluent"} and not made.bold
    assert {r["metric"] for r in entries(made)} == {"mean of six accuracies", "trade-off score"}


def test_the_slide_has_ten_methods_with_distances_by_network(runs: list[Run]) -> None:
    document = builder("slug_unlearncanvas")(runs)
    slide = panel(document, "SD v1.5 as published | sd_tiny")
    razor = row(slide, "RAZOR", "razor")
    assert razor["published style UA ↑ %"] == "–" and razor["measured FID paired:tiny/data ↓"].startswith(
        "7.5"
    )
    seot = row(slide, "SEOT", "seot")
    assert seot["published FID torchvision:inception_v3/data ↓"] == "62.38"
    assert seot["measured storage ↓ GB"].startswith("0.00000") and seot["published storage ↓ GB"] == "0.0"
    assert seot["measured style UA ↑ %"] == seot["measured object UA ↑ %"] == "60.00"
    assert "Δ FID paired:tiny/data" not in slide.columns
    assert row(slide, "UCE", "uce")["measured time ↓ s"] == "–"  # its run shared a process
    assert "published FID paired:tiny/data ↓" not in slide.columns
    assert {r[0] for r in slide.rows} == {"unedited", "RAZOR", *SLIDE}


def test_scores_that_columns_read_and_fresh_are_kept_in_score_files(runs: list[Run], tmp_path: Path) -> None:
    from razor_cli.tables.score_file import load, save

    save(tmp_path / "scores.csv", runs)
    again = load(tmp_path / "scores.csv")
    for name in ("table4", "table5", "slug_unlearncanvas", "interference"):
        assert render(builder(name)(again), "csv") == render(builder(name)(runs), "csv")
