"""A plan calls recorded what the run itself would find: weights and files as they are now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pictures import write_folder
from safetensors.torch import load_file, save_file

from razor_cli.bench import identified, sets_of
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.settings import Experiment, classes_of, resolved
from razor_cli.families.clip.standins import stand_in_folder
from razor_cli.grid.recorded import UNSURE, YES, Recorded
from razor_cli.runs import remembered
from razor_cli.runs.code import code_version
from razor_cli.runs.provenance import Provenance
from razor_cli.runs.records import RunRecord


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    for name in ("RAZOR_CACHE", "RAZOR_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(remembered, "SETTLED", -(10**12))
    save_file(load_file(stand_in_folder("clip_tiny") / "clip_tiny.safetensors"), tmp_path / "w.safetensors")
    (tmp_path / "names.txt").write_text("Zed\n")
    write_folder(tmp_path / "pictures", {"Ada": 16, "Bo": 60})
    words = ["data=folder", f"data.root={tmp_path}/pictures", f"data.names_file={tmp_path}/names.txt"]
    words += [f"model.weights={tmp_path}/w.safetensors", "model=clip_tiny", "target=Ada", "method=none"]
    return checked(read(words))


def run_of(experiment: Experiment, run_id: str = "0" * 16) -> RunRecord:
    """Return as much of a run's record as a plan looks at."""
    code = code_version(experiment.model.family, *classes_of(experiment))
    origin = Provenance.model_construct(code_version=code)
    return RunRecord.model_construct(run_id=run_id, settings=resolved(experiment), provenance=origin)


def other_weights(place: Path) -> None:
    state = load_file(place / "w.safetensors")
    save_file({n: v + torch.ones_like(v) for n, v in state.items()}, place / "w.safetensors")


def other_names(place: Path) -> None:
    (place / "names.txt").write_text("Uwe\n")


def other_picture(place: Path) -> None:
    write_folder(place / "pictures", {"Ada": 3}, start=500)


def no_picture(place: Path) -> None:
    (place / "pictures").rename(place / "elsewhere")


@pytest.mark.parametrize("change", [other_weights, other_names, other_picture, no_picture])
def test_a_plan_sees_what_changed_since_a_run(
    experiment: Experiment, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    _, identity = identified(experiment, sets_of(experiment))
    run = run_of(experiment, identity.run_id)
    plan = Recorded([run])
    assert plan.state(experiment) == YES == plan.state(experiment)
    assert plan.state(replace(experiment, force=True)) == "" == plan.state(replace(experiment, seed=1))
    change(tmp_path)
    later = Recorded([run])
    assert later.state(experiment) == ""
    assert ["is not a folder" in why for why in later.untold] == [True] * (change is no_picture)


def test_a_level_of_difficulty_is_said_to_be_uncertain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    made = checked(read(["scenario=fine_grained", "target=difficult", "method=none", "model=clip_tiny"]))
    assert Recorded([]).state(made) == ""
    assert Recorded([run_of(made)]).state(made) == UNSURE and UNSURE.partition(":")[0] == YES
