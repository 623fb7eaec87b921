"""`razor patch`: what it prints, what it writes, and which errors it ends with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
from typer.testing import CliRunner

from razor_cli.commands.patch import app
from razor_cli.errors import PatchError, WeightsError
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import write_patch

BASE = {"visual.proj": torch.arange(12.0).reshape(3, 4), "logit_scale": torch.tensor(4.6).half()}


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    safetensors.torch.save_file(BASE, "base.safetensors")
    settings = {"note": "[bold]not markup[/bold]", "rho": 0.1}
    write_patch(
        "p.safetensors",
        {"visual.proj": BASE["visual.proj"] + 1},
        BASE,
        method="razor",
        target="Beyoncé",
        settings=settings,
    )
    return tmp_path


def run(line: str):
    return CliRunner().invoke(app, line.split())


def test_show_prints_header_and_tensors(room):
    result = run("show p.safetensors")
    assert result.exit_code == 0, result.exception
    for part in (
        "razor",
        "visual.proj",
        "float32",
        "3 × 4",
        "48",
        "not named",
        "[bold]not markup[/bold]",
        '"rho": 0.1',
        "1 tensors",
    ):
        assert part in result.output
    assert "Beyoncé" not in result.output


def test_show_prints_the_target_where_the_patch_names_it(room):
    write_patch("q.safetensors", {}, BASE, method="none", target="Beyoncé", name_target=True)
    assert "Beyoncé" in run("show q.safetensors").output


def test_verify_says_yes_or_why_not(room):
    assert "belongs to base.safetensors" in run("verify p.safetensors --base base.safetensors").output
    safetensors.torch.save_file({**BASE, "visual.proj": torch.ones(3, 4)}, "other.safetensors")
    result = run("verify p.safetensors --base other.safetensors")
    assert isinstance(result.exception, PatchError) and result.exception.exit_code == 2
    assert "visual.proj" in str(result.exception) and "other values" in str(result.exception)


def test_apply_and_revert(room):
    result = run("apply p.safetensors --base base.safetensors --out out.safetensors")
    assert result.exit_code == 0 and "out.safetensors.undo.safetensors" in result.output
    assert torch.equal(read_state("out.safetensors")["visual.proj"], BASE["visual.proj"] + 1)
    modes = [(room / f"out.safetensors{end}").stat().st_mode & 0o777 for end in ("", ".undo.safetensors")]
    assert modes[1] == 0o600 and modes[1] & ~modes[0] == 0  # what was removed is at least as closed
    for n, way in enumerate(("--undo out.safetensors.undo.safetensors", "--base base.safetensors")):
        assert run(f"revert out.safetensors --out back{n}.safetensors {way}").exit_code == 0
        assert torch.equal(read_state(f"back{n}.safetensors")["visual.proj"], BASE["visual.proj"])


def test_apply_writes_no_undo_file_when_told_and_replaces_only_by_force(room):
    line = "apply p.safetensors --base base.safetensors --out out.safetensors --no-undo"
    assert "undo:    none" in run(line).output
    assert not (room / "out.safetensors.undo.safetensors").exists()
    result = run(line)
    assert isinstance(result.exception, PatchError) and "--force" in str(result.exception)
    assert run(f"{line} --force").exit_code == 0


def test_apply_names_what_it_does_not_copy(room):
    (room / "folder").mkdir()
    (room / "base.safetensors").rename(room / "folder" / "model.safetensors")
    (room / "folder" / "tf_model.h5").write_bytes(b"old weights")
    assert "tf_model.h5" in run("apply p.safetensors --base folder --out edited").output
    assert {p.name for p in (room / "edited").iterdir()} == {"model.safetensors"}


@pytest.mark.parametrize(
    ("line", "error", "part"),
    [
        ("show none.safetensors", PatchError, "no patch file"),
        ("show base.safetensors", PatchError, "not a patch"),
        ("apply p.safetensors --base none --out out.safetensors", WeightsError, "no weights"),
        (
            "apply p.safetensors --base base.safetensors --out base.safetensors --force",
            PatchError,
            "one of the inputs",
        ),
        ("apply p.safetensors --base base.safetensors --out out", PatchError, ".safetensors"),
        ("revert base.safetensors --out out.safetensors", PatchError, "--undo FILE or --base WEIGHTS"),
    ],
)
def test_each_error_says_what_and_writes_nothing(room, line, error, part):
    before = sorted(room.iterdir())
    result = run(line)
    assert isinstance(result.exception, error) and part in str(result.exception)
    assert sorted(room.iterdir()) == before


def test_the_parser_is_built_without_torch():
    code = "import sys; from razor_cli.commands.patch import app; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=False
        ).returncode
        == 0
    )


def test_a_pipeline_is_told_by_its_parts(tmp_path, monkeypatch):
    from tiny_sd import tiny_sd15

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    tiny_sd15(tmp_path / "sd")
    state = read_state("sd")
    names = [n for n in state if n.startswith("text_encoder.encoder.layers.0.mlp") and n.endswith("weight")]
    write_patch("p.safetensors", {n: state[n] + 1 for n in names}, state, method="razor", target="owl")
    shown = run("show p.safetensors").output
    assert "text_encoder: 2 tensors change" in shown and "unet: stays" in shown and "vae: stays" in shown
    assert "unet: stays" in run("verify p.safetensors --base sd").output
    result = run("apply p.safetensors --base sd --out edited --link")
    assert result.exit_code == 0 and "edited.undo.safetensors" in result.output, result.exception
    assert (tmp_path / "edited/unet/config.json").samefile(tmp_path / "sd/unet/config.json")
    assert run("revert edited --out back --undo edited.undo.safetensors").exit_code == 0
    files = [p.relative_to("sd") for p in Path("sd").rglob("*") if p.is_file()]
    assert files and all((Path("back") / f).read_bytes() == (Path("sd") / f).read_bytes() for f in files)


def test_a_stand_in_is_named_in_place_of_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    state = read_state("clip_tiny")
    write_patch("p.safetensors", {"logit_scale": state["logit_scale"] - 1}, state, method="x", target=None)
    assert run("apply p.safetensors --base clip_tiny --out edited.safetensors").exit_code == 0
    assert torch.equal(read_state("edited.safetensors")["logit_scale"], state["logit_scale"] - 1)


def test_what_is_not_there_is_met_with_where_it_lies(room):
    assert "`razor show ID` names" in str(run("show latest").exception)
    missing = str(run("verify p.safetensors --base nowhere").exception)
    assert "a stand-in: " in missing and "clip_tiny" in missing and "llava_tiny" in missing


def test_the_first_misfit_stands_beside_its_label(room):
    assert run("apply p.safetensors --base base.safetensors --out out.safetensors").exit_code == 0
    text = str(run("verify p.safetensors --base out.safetensors").exception)
    assert "\n  found: these weights already have" in text and "as they were before it" in text
