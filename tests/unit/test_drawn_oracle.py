"""A pipeline trained without the target beside a run: read, named, refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_sd import tiny_sd3, tiny_sd15

from razor_cli.contract.choices import Device
from razor_cli.contract.components import parameters
from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.spec import DiffusionSpec

CHANGED = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return a tiny pipeline, and one that differs from it in one tensor of the net."""
    own = tiny_sd15(tmp_path_factory.mktemp("oracle") / "model")
    other = own.with_name("without")
    shutil.copytree(own, other)
    stored = load_file(other / CHANGED)
    stored["conv_in.weight"] = stored["conv_in.weight"] + 1
    save_file(stored, other / CHANGED)
    return own, other


def spec(own: Path, oracle: object) -> DiffusionSpec:
    return DiffusionSpec(name="mine", stand_in=False, weights=str(own), device=Device.CPU, oracle=oracle)  # type: ignore[arg-type]


def test_the_oracle_is_the_other_pipeline_and_leaves_the_model_as_it_was(folders: tuple[Path, Path]) -> None:
    own, other = folders
    family = spec(own, str(other)).open()
    live = parameters(family)
    before = {n: p.clone() for n, p in live.items()}
    found = family.companions("Noto")
    assert found.hashes["oracle"] == spec(other, None).weights_hash() != family.weights_hash()
    assert "taken to be retrained without Noto" in found.notes[0]
    assert found.states["oracle"].tensors().keys() == {"unet.conv_in.weight"}
    with found.states["oracle"].held(family):
        stored = load_file(other / CHANGED)
        assert all(torch.equal(p, stored[n[5:]]) for n, p in live.items() if n.startswith("unet."))
    assert all(torch.equal(p, before[n]) for n, p in live.items())


def test_the_oracle_is_part_of_a_runs_name_for_its_own_target_alone(folders: tuple[Path, Path]) -> None:
    own, other = folders
    plain, given = spec(own, None), spec(own, {"Noto": str(other)})
    assert given.beside("noto") == plain.beside("Noto") | {"oracle": spec(other, None).weights_hash()}
    assert given.beside("Mono") == plain.beside("Mono")
    found = given.open().companions("Mono")
    assert not found.states and "it was retrained without Noto" in found.notes[0]


def test_an_oracle_that_cannot_serve_is_refused(folders: tuple[Path, Path], tmp_path: Path) -> None:
    own, other = folders
    (missing,) = spec(own, str(tmp_path / "nowhere")).problems()
    assert missing.what.startswith("model.oracle") and missing.fix and "model.oracle=null" in missing.fix
    broken = tmp_path / "broken"
    shutil.copytree(other, broken)
    index = json.loads((broken / "model_index.json").read_text())
    (broken / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    assert any(p.what.startswith("model.oracle") for p in spec(own, {"Noto": str(broken)}).problems())
    family = spec(own, str(tiny_sd3(tmp_path / "sd3"))).open()
    with pytest.raises(WeightsError, match=r"model.oracle='sd3' is another kind of pipeline"):
        family.companions("Noto")
