"""Pictures of methods beside each other, and the matrix of forgotten and generated names."""

from __future__ import annotations

from pathlib import Path

import pytest
from canvas_runs import COLUMNS, NAMES, PAINT, SIDE, drew, pictures
from PIL import Image

from razor_cli.runs.folder import Run, complete_runs
from razor_cli.tables import interference, sheets
from razor_cli.tables.plots import draw_all
from razor_cli.tables.plots_drawn import pictures_of
from razor_cli.tables.registry import builder

PERSON = {"scenario": "identity", "data": "portraits"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    folder = tmp_path_factory.mktemp("sheets")
    files = pictures(("base", "control", "edit"))
    drew(folder, "Elon Musk", "slug", 90.0, files=files, **PERSON)
    drew(folder, "Elon Musk", "esd_paper", 80.0, files=pictures(("base", "edit")), **PERSON)
    drew(folder, "Elon Musk", "salun", 70.0, files=pictures(("base", "edit"), COLUMNS[:2]), **PERSON)
    drew(folder, "Elon Musk", "slug", 90.0, seed=1, files=files, **PERSON)
    for method in ("razor", "slug"):
        drew(folder, "Elon Musk", method, 95.0, model="sd3_tiny", files=files, **PERSON)
    drew(folder, "Noto", "razor", 90.0, kept=80.0)
    drew(folder, "Fluent", "razor", 70.0)
    drew(folder, "Noto", "uce", 20.0)
    return complete_runs(folder)


def test_a_sheet_shows_the_same_prompts_and_seeds_in_every_row(runs: list[Run]) -> None:
    other, small = sheets.sheets(runs, "slug_sd")
    assert "forgetting Elon Musk, seed 0" in small.title and "sd3_tiny" in other.title
    assert [name for name, *_ in small.rows] == ["unedited", "slug", "esd_paper"]  # salun's are others
    assert [(c.section, c.prompt, c.seed) for c in small.columns] == list(COLUMNS)
    for name, file, row in small.rows:
        wanted = PAINT["base" if name == "unedited" else "edit"]
        parts = pictures_of(file, row, len(small.columns))
        assert len(parts) == 3 and all(p.shape == (SIDE, SIDE, 3) and (p == wanted).all() for p in parts)


def test_figure_3_is_of_sd3_and_what_is_missing_is_named(runs: list[Run]) -> None:
    (sheet,) = sheets.sheets(runs, "figure3")
    assert [name for name, *_ in sheet.rows] == ["unedited", "razor", "slug"]
    document = builder("slug_sd")(runs)
    cells = [c for p in document.panels for r in p.rows for c in r]
    assert "no run recorded: razor-run experiment=slug_sd scenario=character method=slug" in cells
    (person,) = (p for p in document.panels if "sd_tiny" in p.title)
    assert ("Elon Musk", "salun", "70.00", "69.00", "95.00", "96.00", "93.00") in person.rows
    empty = builder("pictures")([])
    assert empty.panels[0].rows[0][2] == "no run recorded: razor-run experiment=drawn"


def test_figures_are_drawn_and_equal_when_drawn_again(runs: list[Run], tmp_path: Path) -> None:
    for name, count in (("figure3", 1), ("pictures", 2), ("interference", 3), ("table4", 0)):
        files, notes = draw_all(name, tmp_path, runs)
        assert len(files) == 3 * count and not notes  # PNG, SVG and PDF of each
        before = [f.read_bytes() for f in files]
        assert [f.read_bytes() for f in draw_all(name, tmp_path, runs)[0]] == before
        for file in (f for f in files if f.suffix == ".png"):
            with Image.open(file) as image:
                assert min(image.size) > 200


def test_a_damaged_file_of_pictures_costs_its_figure_and_a_note(tmp_path: Path) -> None:
    run = drew(tmp_path, "Noto", "razor", 90.0, files=pictures(("base", "edit")))
    run.path("shown.png").write_bytes(b"planted")
    files, notes = draw_all("pictures", tmp_path / "figures", complete_runs(tmp_path))
    assert not files and len(notes) == 1 and "is not what DONE vouches for" in notes[0]


def test_interference_has_the_forgotten_on_its_diagonal(runs: list[Run]) -> None:
    (heat,) = (h for h in interference.heats(runs) if h.title.endswith("style"))
    assert heat.forgotten == ("Fluent", "Noto") and set(heat.generated) == set(NAMES)
    assert heat.generated[:2] == heat.forgotten and list(heat.methods) == ["razor", "uce"]
    assert heat.methods["razor"].tolist() == [[30.0, 95.0, 95.0], [80.0, 10.0, 80.0]]
    assert heat.rows["uce"] == ("Noto",) and heat.methods["uce"].tolist() == [[95.0, 80.0, 95.0]]
    document = builder("interference")(runs)
    (found,) = (p for p in document.panels if p.title.endswith("style"))
    assert found.rows[2] == ("uce", "Noto", "95.0", "80.0", "95.0")  # no row without a run, but a note
    told = "uce was not run on Fluent: razor-run experiment=drawn model=sd_tiny scenario=style method=uce"
    assert any(note.endswith(told) for note in document.notes)
    assert "experiment=drawn" in builder("interference")([]).notes[-1]
