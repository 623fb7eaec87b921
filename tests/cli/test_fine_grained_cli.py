"""`razor-run scenario=fine_grained` from the command line to the report, and the builders of
taxonomy files.
"""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from razor_cli.data.taxonomy import read_branches
from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import complete_runs

pytestmark = pytest.mark.timeout(300)
SIZES = {
    "n_forget": 2,
    "n_retain": 32,
    "n_validation_forget": 2,
    "n_validation_retain": 16,
    "n_evaluation_forget": 3,
    "n_evaluation_retain": 40,
    "n_suite": 10,
}


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "140")


def said(command: list[str], *, razor: bool = False) -> tuple[int, str]:
    out = io.StringIO()
    with redirect_stdout(out), redirect_stderr(out):
        code = razor_command(command) if razor else run_command(command)
    return code, out.getvalue()


def test_a_run_forgets_several_concepts_and_reports_quality_and_utility(tmp_path: Path) -> None:
    words = [
        "scenario=fine_grained",
        "method=random",
        "quantization=none",
        "control=false",
        "metrics.bootstrap_draws=100",
        f"output_dir={tmp_path / 'out'}",
    ]
    code, text = said([*words, "data.forget=[owl,bear]", *(f"data.{k}={v}" for k, v in SIZES.items())])
    assert code == 0, text
    assert (
        'forget "owl, bear"' in text
        and "Fine labels forgotten, coarse labels kept" in text
        and "out of distribution" in text
    )
    (run,) = complete_runs(tmp_path / "out")
    assert run.record.target == "owl, bear" and run.record.data == "emoji"
    assert run.record.provenance.set_sizes["ood_forget"] == 6
    found = {(r.state, r.score.metric, r.score.variant): r.score for r in run.scores}
    for where in ("in", "ood"):
        assert found["base", "quality", where].value == 0 and found["base", "utility", where].value == 100
        assert found["edit", "df_fine", where].n == 6
        assert found["edit", "dr_coarse", where].value is not None
    assert found["edit", "zero_shot", "mean"].n == 10
    assert any("2 concepts of 1 parents" in note for note in run.record.notes)
    assert any(reason.split()[1] == "quality:" for reason in run.record.verdict.reasons)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["scenario=object", "data.forget=[owl]"], "data.forget names concepts that go together"),
        (["scenario=fine_grained", "data=folder", "data.root=."], "needs fine and coarse labels"),
        (["scenario=class", "data=imgnetdogs", "data.root=."], "forgets a single concept"),
        (
            ["scenario=fine_grained", "data.prompts=ImgnetDogs"],
            "fix: data=compcars, data=imgnetdogs, data=labelled have it",
        ),
        (
            ["scenario=fine_grained", "data=labelled", "data.root=.", "data.prompts=Birds"],
            "there are no templates 'Birds'",
        ),
        (["scenario=fine_grained", "target=owll"], "owl"),
        (["scenario=fine_grained", "data.forget=[owl,beer]"], "'beer' is not a fine concept"),
    ],
)
def test_what_cannot_be_is_refused_by_name(words: list[str], message: str, tmp_path: Path) -> None:
    code, text = said([*words, "method=none", f"output_dir={tmp_path / 'out'}"])
    assert code == 2 and message in text


def test_builders_write_taxonomies(tmp_path: Path) -> None:
    root = tmp_path / "CompCars"
    for i in range(3):
        place = root / f"image/1/1/2012/{i}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 0, 0)).save(place)
    (root / "misc").mkdir()
    names = {
        "make_names": np.array([["Audi"]], dtype=object),
        "model_names": np.array([["Audi A7"]], dtype=object),
    }
    savemat(root / "misc/make_model_name.mat", names)
    code, text = said(["data", "build", "compcars", "--root", str(root), "--min-pictures", "3"], razor=True)
    assert code == 0 and "1 coarse and 1 fine classes (published: 48 and 292)" in text
    assert [(b.fine, b.coarse, b.folder) for b in read_branches(root / "taxonomy.csv")] == [
        ("Audi A7", "Audi", "image/1/1")
    ]
    code, text = said(["data", "build", "compcars", "--root", str(root)], razor=True)
    assert code == 2 and "no class of CompCars-S" in text
    code, text = said(
        ["data", "build", "imgnetdogs", "--root", str(root), "--wordnet", str(root)], razor=True
    )
    assert code == 2 and "WordNet" in text
