"""The other tables and figures from recorded runs: the ablation, all methods, quantization, Tan & Gong,
sweeps, matrices.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import pandas
import pytest
from fake_runs import fake_run
from paper_runs import RATES, record_all

from razor_cli.main import razor_command
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.tables import compare, figures, quantization, table7, tan, tan_series, tan_shapes
from razor_cli.tables.base import FORMS, render
from razor_cli.tables.document import Panel
from razor_cli.tables.flips import preset_settings
from razor_cli.tables.registry import TABLES, builder
from razor_cli.tables.selection import published
from razor_cli.tables.tan_printed import CELLS
from razor_cli.tables.tidy import COLUMNS

GOLDEN = Path(__file__).parents[1] / "golden"
WRITE = os.environ.get("RAZOR_WRITE_GOLDEN") == "1"
# The other tables have tests of their own.
OWN = (
    *"table7 compare quantization figure5 figure6".split(),
    *"tan2 tan3 tan4 tan10 tan11 tan12 tan13 tan14 tan15 tan16 regularizers".split(),
)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    record_all(folder)
    return folder


@pytest.fixture(scope="module")
def runs(outputs: Path) -> list[Run]:
    return complete_runs(outputs)


def rows(panel: Panel) -> dict[str, dict[str, str]]:
    """Return the cells by column of each row, by its first label."""
    return {r[0]: dict(zip(panel.columns, r, strict=True)) for r in panel.rows}


@pytest.mark.parametrize("name", OWN)
def test_tables_equal_their_golden_files_and_render_in_every_form(runs: list[Run], name: str) -> None:
    document = builder(name)(runs)
    path, text = GOLDEN / f"{name}.md", render(document, "md").encode()
    if WRITE:
        path.write_bytes(text)
    assert path.read_bytes() == text
    for form in FORMS:
        assert document.name == name and render(document, form)
    for panel in document.panels:
        assert {len(r) for r in panel.rows} <= {len(panel.columns)} and len(set(panel.columns)) == len(
            panel.columns
        )
        assert "STAND-IN" in panel.title or "published" in panel.title


@pytest.mark.parametrize("name", ("table3", *OWN))
def test_without_runs_a_table_says_what_to_run(name: str) -> None:
    text = render(builder(name)([]), "md")
    assert "razor-run experiment=" in text


# Table 7


def test_ablation_rows_are_found_by_their_settings(runs: list[Run]) -> None:
    (panel,) = table7.build(runs).panels
    found = rows(panel)
    assert "1 target (dog)" in panel.title  # the full row leaves out targets without an ablation
    assert (found["w/o retain"]["measured M1 ↓ %"], found["full"]["measured M1 ↓ %"]) == (
        "9.50",
        "5.50",
    )
    assert found["w/o retain"]["published M1 ↓ %"] == "52.72" and found["w/o retain"]["Δ M1"] == "-43.22"
    # published against the full method: M1 worse, M2 worse, M3 worse, M4 worse, M5 worse
    assert found["w/o retain"]["vs full"].startswith("M1 −→−, M2 −→−, M3 −→≈, M4 −→−, M5 −→−")
    assert found["no iterations"]["runs"] == "0"  # the run with grow_rounds=0 flipped something else too
    assert found["w/o mismatch"]["measured M1 ↓ %"] == "the preset has no such term"


def test_ablation_is_of_the_first_attempt(tmp_path: Path) -> None:
    """Further attempts would step in for what a variant lacks."""
    once, further = {"retries": []}, {"retries": preset_settings("razor")["retries"]}
    for flips, offset in (
        (once, 1.0),
        (once | {"lambda_retain": 0.0}, 5.0),
        (once | {"selector": "phi"}, 3.0),
        (further, 2.0),
        (further | {"lambda_retain": 0.0}, 7.0),
    ):
        fake_run(tmp_path, target="dog", scenario="class", data="cifar10", flips=flips, offset=offset)
    (panel,) = table7.build(complete_runs(tmp_path)).panels
    found = {name: (row["measured M1 ↓ %"], row["runs"]) for name, row in rows(panel).items()}
    assert (
        found["full"] == ("5.50", "1")
        and found["full, further attempts"] == ("6.50", "1")
        and found["w/o retain"] == ("9.50", "1")
    )
    assert found["selected by φ"] == ("7.50", "1")


# All methods, quantization


def test_comparison_has_a_row_per_method_and_names_those_not_run(runs: list[Run]) -> None:
    panels = {
        p.title.split(" | ")[0] + p.title.split(", ")[1].split(":")[0]: p for p in compare.build(runs).panels
    }
    found = rows(panels["what was forgotten and keptidentity"])
    assert set(compare.METHODS) <= set(found) and float(found["unedited"]["M1 ↓ %"].split()[0]) > 96
    assert found["ga"]["recovery at int4 →0"].startswith("0.5") and found["ga"]["vs razor"].startswith("M1 −")
    assert (
        found["ft"]["M1 ↓ %"] == "no run recorded: razor-run experiment=compare scenario=identity method=ft"
    )
    cost = rows(panels["cost of the editidentity"])
    assert cost["razor"]["forward ↓ 1000"] == "12.3"


def test_quantization_tells_local_from_full_and_judges_the_claim(runs: list[Run]) -> None:
    document = quantization.build(runs)
    found = rows(document.panels[0])
    assert {m: r["kind"] for m, r in found.items()} == {
        "razor": "local",
        "slug": "local",
        "ga": "full-model",
        "salun": "full-model",
    }
    assert found["ga"]["edit size %"] == "2.000" and found["ga"]["codes changed %"] == "20.00"
    (sentence,) = [n for n in document.notes if "recovery at 8bit" in n]
    assert "not told apart" in sentence  # two methods of each kind, far apart among themselves


def test_claim_needs_intervals_that_lie_apart() -> None:
    def point(method: str, local: bool, value: float) -> quantization.Point:
        sample = {("A", 0): value}
        return quantization.Point(
            method=method, scheme="int8", local=local, size=sample, codes=sample, recovery=sample
        )

    local = [point(f"l{i}", True, 0.01 * i) for i in range(3)]
    full = [point(f"f{i}", False, 0.5 + 0.01 * i) for i in range(3)]
    assert "as claimed" in quantization.claim([*local, *full])[0]
    turned = [quantization.Point(**{**vars(p), "local": not p.local}) for p in [*local, *full]]
    assert "against the claim" in quantization.claim(turned)[0]
    assert quantization.claim(local) == []


# Tan & Gong


def test_traced_metrics_stand_beside_the_published_ones(runs: list[Run]) -> None:
    (panel,) = tan.build(runs, "tan2").panels
    found = rows(panel)
    own = found["nhl_kl_tan"]
    assert own["measured D_f fine ↓ %"] == "4.50" and own["published D_f fine ↓ %"] == "2.00"
    assert (
        found["unedited"]["published D_f fine ↓ %"] == "93.40"
        and found["unedited"]["measured D_f fine ↓ %"] == "90.00"
    )
    assert "D_f fine +→+" in own["vs unedited"] and "D_f fine +→+" in found["ga_tan"]["vs nhl_kl_tan"]
    assert found["npo_kl_tan"]["measured D_f coarse ↑ %"].endswith(
        "razor-run experiment=tan_table2 method=npo_kl/tan"
    )


def test_every_published_cell_is_printed_as_shipped(runs: list[Run]) -> None:
    for shape in tan_shapes.SHAPES.values():
        (panel,) = tan.build(runs, shape.name).panels
        cells = {r[1]: r for r in panel.rows}
        for printed in published(shape.file):
            if tan_shapes.plain_name(printed["method"]) not in tan_shapes.ORIGIN:
                shown = list(cells[printed["method"]][2 : 2 + len(shape.keys)])
                wrong = CELLS.get((shape.file, tan_shapes.plain_name(printed["method"])), ())
                assert shown == [printed[k] + ("?" if k in wrong else "") for k in shape.keys]


def test_levels_and_series(runs: list[Run]) -> None:
    (panel,) = tan.levels(runs).panels
    measured = {(r[0], r[1]): r[panel.columns.index("measured D_f fine ↓ %")] for r in panel.rows}
    assert (measured["difficult", "nhl_kl_tan"], measured["medium", "nhl_kl_tan"]) == ("4.50", "3.00")
    assert panel.rows[5][-1] == "0"  # easy was not run
    assert [p.title.split(" | ")[0] for p in tan_series.zero_shot(runs, "tan16").panels] == [
        "as published, CLIP ViT-L/14",
        "measured",
    ]
    (shown,) = tan.regularizers(runs).panels
    labels = {r[0] for r in shown.rows}
    assert {"nhl_kl_tan", "nhl_kl_tan (alpha_coarse=0)"} <= labels and "gdiff_tan" not in labels
    assert "1 target (difficult)" in shown.title  # plain runs on other targets would be compared with nothing


# Figures


def test_sweep_is_found_and_other_runs_are_no_part_of_it(runs: list[Run]) -> None:
    (lines,) = figures.swept(runs).values()
    (curve,) = lines
    assert (curve.method, curve.knob, list(curve.points)) == ("razor", "step_size", [0.001, 0.01, 0.1])
    assert [next(iter(p["m1"].values())) for p in curve.points.values()] == [4.5, 5.5, 6.5]


def test_matrices_are_read_back_as_written(runs: list[Run]) -> None:
    (found,) = figures.matrices(runs)
    assert found.names == ("Taylor Swift", "Elon Musk") and found.before.tolist() == [[0.9, 0.1], [0.2, 0.8]]
    assert set(found.after) == set(RATES) and found.after["ga"].tolist() == [[0.4, 0.1], [0.2, 0.7]]
    (row, *_) = figures.figure6(runs).panels[0].rows
    assert row[2:] == ("0.900", "0.400", "+0.000", "0.100")


def test_all_writes_every_table_and_figure(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert razor_command(["tables", "all", "--output-dir", str(outputs), "--out", str(tmp_path)]) == 0
    files = {p.name for p in tmp_path.iterdir()}
    assert {f"{n}.{e}" for n in TABLES for e in FORMS} <= files
    drawn = {"figure5", "figure6", "quantization"}
    assert files - {f"{n}.{e}" for n in TABLES for e in FORMS} == {
        "index.html",
        *(f"{name}.{form}" for name in drawn for form in ("png", "svg", "pdf")),
    }
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert all(f'href="{f}"' in page for f in files if f not in ("index.html",))
    assert all((tmp_path / f).read_bytes().startswith(b"\x89PNG") for f in files if f.endswith(".png"))
    assert "written:" in capsys.readouterr().out


def test_csv_of_every_table_is_a_frame(runs: list[Run]) -> None:
    for name in TABLES:
        for some in (runs, []):
            frame = pandas.read_csv(io.StringIO(render(builder(name)(some), "csv")))
            assert list(frame.columns) == list(COLUMNS), name
            assert frame["value"].notna().sum() + frame["note"].notna().sum() >= len(frame), name
