"""The benchmark's own classifiers, described by `razor data judge --checkpoint`, judge a run; checkpoints of
their layout on a smaller body.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sd import paired_clip, tiny_sd15
from tiny_vit import TinyVit

from razor_cli.bench import identified, sets_of
from razor_cli.config import compose
from razor_cli.config.command_line import read
from razor_cli.errors import WeightsError
from razor_cli.families.diffusion import canvas_judges
from razor_cli.families.diffusion.canvas_judges import canvas_labels, sha256_of, take_checkpoint
from razor_cli.families.diffusion.judge_files import JudgeFiles
from razor_cli.run import perform
from razor_cli.screen import Screen

KINDS = ("style", "object")


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Describe a made-up checkpoint of each kind as the judge of exams."""
    monkeypatch.setattr(canvas_judges, "vit", TinyVit)
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    for seed, kind in enumerate(KINDS):
        torch.manual_seed(seed)
        state = TinyVit(len(canvas_labels(kind))).state_dict()
        torch.save({"model_state_dict": state, "epoch": torch.tensor(9)}, tmp_path / f"{kind}.pth")
        take_checkpoint(tmp_path / "judges", "exam", kind, tmp_path / f"{kind}.pth")
    return tmp_path / "judges"


def experiment(tmp_path: Path, judges: Path, *words: str) -> Any:
    folder = tmp_path / "sd"
    if not folder.exists():
        paired_clip(tiny_sd15(folder), tmp_path / "sd_clip")
    sizes = {"forget": 2, "retain": 4, "validation_forget": 2, "validation_retain": 2, "unseen": 2}
    sizes |= {"evaluation_forget": 4, "evaluation_retain": 8}
    asked = [f"data.n_{name}={n}" for name, n in sizes.items()]
    asked += ["model=sd15", f"model.weights={folder}", "scenario=style", "target=Van_Gogh", "data=generated"]
    asked += ["data.alternatives=[Monet,Cubism]", "data.partners=[Cats,Dogs]", "data.steps=1"]
    asked += ["method=none", "control=false", "quantization=none", "metrics.steps=1", "metrics.fid=none"]
    asked += [f"metrics.judges={judges}", f"output_dir={tmp_path / 'out'}"]
    return compose.checked(read([*asked, *words]))


def test_they_judge_a_run_under_their_own_names(tmp_path: Path, judges: Path) -> None:
    given = experiment(tmp_path, judges)
    run, computed = perform(given, Screen(file=io.StringIO()))
    assert computed
    notes = "\n".join(run.record.notes)
    for kind in KINDS:
        checksum = sha256_of(tmp_path / f"{kind}.pth")
        assert f"{kind}: judges/{kind}/exam ({checksum[:12]})" in notes
    found = {(r.score.metric, r.score.variant): r.score for r in run.scores}
    assert found["ua", "benchmark"].value is not None and found["cra", "benchmark"].value is not None
    assert not [v for _, v in found if v.startswith("zero_shot")]
    assert found["judge_acc", "style"].value is None
    hashes = given.metrics.judge_hashes(sets_of(given))
    assert hashes == {"exam": JudgeFiles(judges).hash("exam")} and len(hashes["exam"]) == 64


def test_another_checkpoint_is_another_run(tmp_path: Path, judges: Path) -> None:
    before = experiment(tmp_path, judges)
    first = identified(before, sets_of(before))[1].run_id
    torch.manual_seed(9)
    torch.save(TinyVit(20).state_dict(), tmp_path / "other.pth")
    take_checkpoint(judges, "exam", "object", tmp_path / "other.pth")
    assert identified(before, sets_of(before))[1].run_id != first


@pytest.mark.parametrize("damage", ["away", "changed"])
def test_a_checkpoint_that_is_not_there_is_named_with_its_checksum_before_anything_is_loaded(
    tmp_path: Path, judges: Path, damage: str
) -> None:
    given, checksum = experiment(tmp_path, judges), sha256_of(tmp_path / "style.pth")
    if damage == "away":
        (tmp_path / "style.pth").unlink()
    else:
        (tmp_path / "style.pth").write_bytes(b"another file")

    def opener(_: object) -> Any:
        raise AssertionError("the model was loaded")

    with pytest.raises(WeightsError) as error:
        perform(given, Screen(file=io.StringIO()), opener=opener)
    said = error.value.message()
    assert "style.pth" in said and checksum in said and "razor data judge --checkpoint=FILE" in said
    assert ("no such file" in said) is (damage == "away")
