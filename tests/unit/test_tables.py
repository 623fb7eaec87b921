"""Table 3 from recorded runs: against golden files, and the promises its cells make.

The golden files are written anew by `RAZOR_WRITE_GOLDEN=1 pytest tests/unit/test_tables.py`; look at the
difference.
"""

from __future__ import annotations

import csv
import io
import os
import re
import shlex
from importlib import resources
from pathlib import Path

import pandas
import pytest
from fake_runs import fake_run

from razor_cli.config import command_line
from razor_cli.errors import ConfigError
from razor_cli.grid.blocks import chosen_blocks, read
from razor_cli.main import razor_command
from razor_cli.runs.folder import complete_runs
from razor_cli.tables.base import FORMS, render
from razor_cli.tables.cells import Number
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.layout import mean_cell
from razor_cli.tables.table3 import MEASURES, METHODS, WIDTHS, build
from razor_cli.tables.tidy import COLUMNS

GOLDEN = Path(__file__).parents[1] / "golden"
WRITE = os.environ.get("RAZOR_WRITE_GOLDEN") == "1"
SHIPPED = (
    resources.files("razor_cli.tables").joinpath("published/razor_table3.csv").read_text(encoding="utf-8")
)
OFFSETS = {"Taylor Swift": 0.0, "Beyoncé": 0.5, "A & B_%": 1.5}


def record(outputs: Path) -> None:
    """Record an identity table with three targets, a class table of a real model with one run, and no object
    table.
    """
    for target, offset in OFFSETS.items():
        fake_run(outputs, target=target, offset=offset)
    fake_run(outputs, target="<b>", method="slug", quantizations=("none",))
    fake_run(outputs, target="Taylor Swift", method="random")
    fake_run(
        outputs,
        target="ship",
        scenario="class",
        data="cifar10",
        model="clip_vitb32",
        stand_in=False,
        method="slug_code",
    )


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("outputs")
    record(folder)
    return folder


@pytest.fixture(scope="module")
def document(outputs: Path) -> Document:
    return build(complete_runs(outputs))


def panel(document: Document, dataset: str) -> Panel:
    (found,) = (p for p in document.panels if p.title.startswith(f"{dataset} as published"))
    return found


def row(table: Panel, method: str, width: str = "none") -> dict[str, str]:
    """Return the only row of a method and width by column."""
    (cells,) = (r for r in table.rows if r[:2] == (method, width))
    return dict(zip(table.columns, cells, strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_table_equals_its_golden_file(document: Document, form: str) -> None:
    path, text = GOLDEN / f"table3.{form}", render(document, form).encode()
    if WRITE:
        path.write_bytes(text)
    assert path.read_bytes() == text


def test_published_cells_are_the_shipped_ones(document: Document) -> None:
    shipped = {
        (r["dataset"], r["method"], r["quant"]): [r[m.key] for m in MEASURES]
        for r in csv.DictReader(io.StringIO(SHIPPED))
    }
    names = {"razor": "RAZOR", "slug": "SLUG", "slug_code": "SLUG"}
    seen = set()
    for table in document.panels:
        dataset = table.title.split(" as published")[0]
        if dataset == table.title:
            continue  # random controls stand beside nothing published
        for method, width, *cells in table.rows:
            key = (dataset, names.get(method, method), width)
            if key in shipped:
                marked = [f"{cell}?" for cell in shipped[key]]  # quantized rows cannot be right
                assert cells[:5] == (shipped[key] if width == "none" else marked)
                seen.add(key)
            else:
                assert method == "unedited" and cells[:5] == ["–"] * 5
    assert seen == set(shipped)


def test_measured_cells_are_means_over_the_runs_of_that_state_and_width(document: Document) -> None:
    table = panel(document, "LAION-400M")
    assert row(table, "razor")["runs"] == "3"
    assert row(table, "razor")["measured M1 ↓ %"] == "5.17 ± 1.90"  # 4.5, 5.0, 6.0 and t(2) = 4.303
    assert row(table, "razor", "4bit")["measured M1 ↓ %"] == "6.67 ± 1.90"
    (controls,) = (p for p in document.panels if p.title.startswith("Random") and "portraits" in p.title)
    assert row(controls, "control of razor")["M1 ↓ %"] == "96.67 ± 1.90"
    assert row(table, "razor", "8bit")["measured M4 ↑ %"] == "95.08 ± 1.90"
    assert row(table, "razor")["measured M3 →0 ×100"] == "0.12 ± 0.00"


def test_spread_stands_only_where_there_are_three_runs(document: Document) -> None:
    for table in document.panels:
        for cells in table.rows:
            spread = ["±" in c for c in cells]
            assert not any(spread) or int(cells[-1]) >= 3
            assert not any(
                s
                for s, c in zip(spread, table.columns, strict=True)
                if c.startswith(("published", "Δ", "vs "))
            )
    single = row(panel(document, "LAION-400M"), "slug")
    assert (single["measured M1 ↓ %"], single["runs"]) == ("4.50", "1")
    assert mean_cell([1.0]) == "1.00" and mean_cell([]) == "–" and mean_cell([1.0] * 3) == "1.00 ± 0.00"
    two = mean_cell([5.0, 86.7])  # a t interval of two shares in % would reach from -473 to 564
    assert two == "45.85" and isinstance(two, Number) and (two.low, two.high) == (None, None)


def test_stand_ins_are_marked_and_real_models_are_not(document: Document) -> None:
    names = "4 targets (<b>, A & B_%, Beyoncé, Taylor Swift)"
    assert [p.title for p in document.panels] == [
        "CIFAR-10 as published | clip_vitb32, CIFAR-10 photographs: 1 target (ship), 1 seed",
        "Random changes of the same size | clip_vitb32, CIFAR-10 photographs: 1 target (ship), 1 seed",
        "ImageNet as published | nothing measured on emoji (in place of ImageNet)",
        "LAION-400M as published | clip_tiny STAND-IN, drawn portraits (in place of LAION-400M): "
        f"{names}, 1 seed",
        "Random changes of the same size | clip_tiny STAND-IN, drawn portraits (in place of "
        f"LAION-400M): {names}, 1 seed",
    ]


def test_models_never_share_a_panel(tmp_path: Path) -> None:
    fake_run(tmp_path)
    fake_run(tmp_path, model="clip_vitb32", stand_in=False, offset=9.0)
    titles = [p.title for p in build(complete_runs(tmp_path)).panels if p.title.startswith("LAION")]
    assert len(titles) == 2 and ["STAND-IN" in t for t in titles] == [True, False]


def test_runs_for_choosing_settings_and_other_settings_stay_out(tmp_path: Path) -> None:
    fake_run(tmp_path)
    fake_run(tmp_path, flips={"rho": 0.99}, offset=40.0, finished="2026-09-01T00:00:00.000+00:00")
    fake_run(tmp_path, seed=1, judged_on="validation", offset=40.0)
    found = build(complete_runs(tmp_path))
    measured = row(panel(found, "LAION-400M"), "razor")
    assert (measured["measured M1 ↓ %"], measured["runs"]) == ("4.50", "1")
    assert "Left out: 1 runs judged on validation pictures." in found.notes
    assert "Left out: runs with settings other than their preset's: razor (rho=0.99)." in found.notes


def test_difference_and_directions(document: Document) -> None:
    razor, slug = (row(panel(document, "LAION-400M"), m) for m in ("razor", "slug"))
    assert razor["Δ M1"] == "-34.83"  # 5.17 measured, 40.00 published
    assert razor["vs unedited"] == "M1 +, M2 ≈, M4 −, M5 −" and razor["vs razor"] == "–"
    assert slug["vs razor"] == "–"  # no target in common


def test_orderings_count_only_where_both_sides_tell_apart(tmp_path: Path) -> None:
    for seed in range(3):
        fake_run(tmp_path, seed=seed)
        fake_run(tmp_path, seed=seed, method="ssd", offset=3.0)  # worse everywhere, M3 alike
    cells = row(panel(build(complete_runs(tmp_path)), "LAION-400M"), "ssd")
    # published on LAION: SSD is worse in M1, better in M2, worse in M3, M4 and M5
    assert cells["vs razor"] == "M1 −→−, M2 +→−, M3 −→≈, M4 −→−, M5 −→−"
    assert cells["agree"] == "3 of 4"


def test_best_is_bold_only_where_intervals_lie_apart(tmp_path: Path) -> None:
    for seed, jitter in enumerate((0.0, 0.25, 0.5)):
        fake_run(tmp_path, seed=seed, offset=jitter)
        fake_run(tmp_path, seed=seed, method="slug", offset=jitter + 30.0)
        fake_run(tmp_path, seed=seed, method="ssd", offset=jitter + 30.1)
    table = panel(build(complete_runs(tmp_path)), "LAION-400M")
    names = {(table.rows[i][0], table.columns[j]) for i, j in table.bold}
    assert {n for n, _ in names} == {"razor"} and ("razor", "measured M1 ↓ %") in names
    assert not any("M3" in c for _, c in names)  # all alike
    text = render(Document(name="t", title="t", panels=[table]), "md")
    assert "**4.75 ± 0.62**" in text and r"\textbf{4.75 $\pm$ 0.62}" in render(
        Document(name="t", title="t", panels=[table]), "tex"
    )


def test_panels_have_cells_for_every_column(document: Document) -> None:
    for table in document.panels:
        assert {len(r) for r in table.rows} == {len(table.columns)}
        assert [r[1] for r in table.rows] == list(WIDTHS.values()) * (len(table.rows) // 3)
        assert len(set(table.columns)) == len(table.columns)


def test_methods_not_run_name_the_command_that_runs_them(document: Document) -> None:
    why = {p.title.split(" as")[0]: {r[0]: r[7] for r in p.rows if r[-1] == "0"} for p in document.panels}
    assert (
        why["CIFAR-10"]["RAZOR"]
        == "no run recorded: razor-run experiment=table3 model=clip_vitb32 scenario=class method=razor"
    )
    assert set(why["ImageNet"]) == set(METHODS)
    assert not {"RAZOR", "SLUG"} & set(why["LAION-400M"])  # both were run


def test_commands_named_in_cells_are_accepted(document: Document) -> None:
    cells = {c for p in document.panels for r in p.rows for c in r if "razor-run" in c}
    assert len(cells) == 13  # one is of widths that slug's run was not asked for
    for cell in cells:
        words = shlex.split(cell.split("razor-run ")[1])
        found = chosen_blocks(words)
        assert found is not None
        (block,) = read(words, *found).blocks  # one scenario and one method
        assert f"method={block['method'][0]}" == words[-1] and len(block["method"]) == 1
        assert command_line.read(words[2:]).problems == []  # both choices exist


def test_width_not_measured_says_why(document: Document) -> None:
    cells = row(panel(document, "LAION-400M"), "slug", "4bit")
    assert any("razor-run" in c or "not" in c for c in cells.values())


# Forms


def test_targets_are_escaped_in_the_whole_table(document: Document) -> None:
    assert r"A \& B\_\%" in render(document, "tex") and not re.search(
        r"(?<!\\)[&_]_?%", render(document, "tex").split("% ")[0]
    )
    page = render(document, "html")
    assert "(&lt;b&gt;, A &amp; B_%" in page and "<b>" not in page


def test_csv_reads_back(document: Document) -> None:
    frame = pandas.read_csv(io.StringIO(render(document, "csv")))
    assert list(frame.columns) == list(COLUMNS) and frame["value"].dtype == float
    own = frame[(frame.row == "razor") & (frame.metric == "m1") & (frame.source == "measured")]
    assert list(own.width) == ["none", "int8", "int4"] and set(own.variant) == {"dual/mean_of_classes"}
    first = own.iloc[0]
    assert (first.panel, first.n, first.seeds) == (panel(document, "LAION-400M").title, 3, 1)
    assert first.value == pytest.approx(5.1667, abs=1e-3) and first.low == pytest.approx(3.27, abs=0.01)
    assert "without: <b>" in first.note
    missing = frame[frame.value.isna()]
    assert len(missing) and missing.note.str.contains("razor-run experiment=table3").all()
    doubtful = frame[(frame.source == "published") & (frame.width == "int4")]
    assert doubtful.note.str.contains("cannot be right").all()


# The command


def test_without_a_name_the_tables_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert razor_command(["tables"]) == 0
    assert re.search(r"^table3 +RAZOR Table 3", capsys.readouterr().out, re.M)


def test_without_runs_the_published_numbers_stand_alone(tmp_path: Path) -> None:
    table = build(complete_runs(tmp_path))
    assert len(table.panels) == 3 and all(
        "nothing measured" in p.title and len(p.rows) == 15 for p in table.panels
    )


def test_wrong_names_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert razor_command(["tables", "tabel3", "--output-dir", str(tmp_path)]) == ConfigError.exit_code
    assert "did you mean table3?" in capsys.readouterr().err
    assert razor_command(["tables", "table3", "--format", "pdf", "--output-dir", str(tmp_path)]) == 2
    assert "allowed: md, csv, tex, html" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
