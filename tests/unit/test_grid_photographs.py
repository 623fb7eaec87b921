"""An experiment made for the embedded models, asked of another model: `data.root=DIR` gives its photographs
to the blocks whose drawn faces that model cannot know, and the others keep their data.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from loading_cases import hf_folder
from pictures import write_folder

from razor_cli.config.command_line import read as request
from razor_cli.config.compose import checked
from razor_cli.grid import points as grid
from razor_cli.grid.blocks import Asked, chosen_blocks, read
from razor_cli.main import run_command
from razor_cli.runs.folder import complete_runs

PEOPLE = {"Taylor Swift": 16, "Elon_Musk": 16, "Ada Quill": 12}
FEW = ["n_forget=6", "n_retain=12", "n_validation_forget=3", "n_validation_retain=8", "n_suite=10"]
FEW = [f"data.{few}" for few in [*FEW, "n_evaluation_forget=3", "n_evaluation_retain=8"]]


@pytest.fixture(autouse=True)
def nothing_prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "nothing prepared"))


def asked(*words: str) -> Asked:
    line = ["experiment=table3", "seed=0", "method=none", *words]
    found = chosen_blocks(line)
    assert found is not None
    return read(line, *found)


def test_names_take_the_folder_objects_stay_drawn_and_classes_need_their_own(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", PEOPLE)
    words = ("model=clip_vitb32", f"data.root={root}")
    jobs, refused = grid.check_all(asked(*words))
    assert [(j.point["data"], j.experiment.target) for j in jobs] == [
        *(("folder", name) for name in ("Taylor Swift", "Elon Musk")),
        *(("standin", name) for name in ("owl", "pizza", "rocket")),
    ]
    assert {str(r.error).splitlines()[0] for r in refused} == {
        f"target='Robert Downey Jr.': no folder of that name under data.root='{root}'",
        "data.cifar_root is needed by data=cifar10 (scenario=class)",
    }
    said = grid.left_out(jobs)
    assert said[0].startswith("data.root: 2 jobs take data=folder, as model=clip_vitb32 was never shown")
    assert said[1].startswith(f"data.root={root}: left out of 3 jobs") and len(said) == 2
    alone = checked(request(shlex.split(jobs[0].command)[1:]))
    assert vars(alone) == vars(jobs[0].experiment)
    assert grid.check_all(asked(*words, "data=standin"))[0] == []  # chosen for every block


def test_a_stand_in_keeps_its_own_pictures(tmp_path: Path) -> None:
    jobs, refused = grid.check_all(asked("scenario=identity", f"data.root={tmp_path}"))
    assert jobs == [] and all("data.root: there is no such setting" in str(r.error) for r in refused)


def test_one_folder_is_called_too_few_only_where_it_is_the_target_s(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "photos", {"Elon_Musk": 16})
    _, refused = grid.check_all(asked("model=clip_vitb32", "scenario=identity", f"data.root={root}"))
    assert ["shows nothing besides the target" in str(r.error) for r in refused] == [False, True, False]
    assert "no folder of that name" in str(refused[0].error)


def test_both_kinds_of_jobs_are_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_folder(tmp_path / "photos", PEOPLE)
    model = ["model=hf_clip", f"model.weights={hf_folder(tmp_path / 'clip')}"]
    grid_words = ["experiment=table3", "seed=0", "targets=1", "scenario=identity,object", "method=none"]
    more = ["quantization=none", "threads=1", f"output_dir={tmp_path / 'out'}", *FEW]
    code = run_command([*grid_words, *model, f"data.root={root}", *more])
    text = capsys.readouterr().out
    assert code == 0, text
    assert "data.root: 1 job takes data=folder" in text and "2 jobs: 2 computed" in text
    runs = [run.record for run in complete_runs(tmp_path / "out")]
    assert {(r.scenario, r.data, r.target) for r in runs} == {
        ("identity", "folder", "Taylor Swift"),
        ("object", "emoji", "owl"),
    }
