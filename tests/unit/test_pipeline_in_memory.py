"""A pipeline in memory, as a run gets it, and what of it stays as it was."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sd import paired_clip, tiny_sd3, tiny_sd15

import razor_cli
from razor_cli.alone import edit_alone
from razor_cli.config import command_line, compose
from razor_cli.contract.components import parameters
from razor_cli.errors import ConfigError, RazorError, WeightsError
from razor_cli.families.diffusion import loaded
from razor_cli.screen import Screen
from razor_cli.weights.checkpoint import find_layout, read_state
from razor_cli.weights.patch import verify, write_patch

TEXT = "text_encoder.encoder.layers.0.mlp.fc1.weight"


def opened(folder: Path) -> Any:
    from diffusers import DiffusionPipeline

    names = ("safety_checker",) if (folder / "unet").is_dir() else ("text_encoder_3", "tokenizer_3")
    return DiffusionPipeline.from_pretrained(folder, local_files_only=True, **dict.fromkeys(names))


def bits(pipe: Any) -> dict[str, bytes]:
    nets = {n: c for n, c in pipe.components.items() if isinstance(c, torch.nn.Module)}
    return {
        f"{n}.{k}": v.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for n, net in nets.items()
        for k, v in net.state_dict().items()
    }


def drawn(pipe: Any) -> torch.Tensor:
    noise = torch.Generator().manual_seed(0)
    found: torch.Tensor = pipe("cats", num_inference_steps=1, output_type="pt", generator=noise).images
    return found


@pytest.mark.parametrize("kind", [tiny_sd15, tiny_sd3])
def test_a_run_gets_a_copy_with_the_weights_of_the_folder(tmp_path: Path, kind: Any) -> None:
    folder = kind(tmp_path / "sd")
    pipe = opened(folder).to(torch.float16)
    before, stored = bits(pipe), read_state(folder)
    ready = loaded.handed(pipe, {}, {})
    family: Any = ready.family
    assert family.stored.keys() == stored.keys()
    assert set(family.stored.parts) == set(getattr(stored, "parts", ()))
    assert {family.storage_dtype(n) for n in family.stored} == {torch.float16}
    live = parameters(family)
    assert {v.dtype for v in live.values()} == {torch.float32}
    for value in live.values():
        value.add_(1)
    assert bits(pipe) == before
    assert ready.settings["weights"] == family.weights_hash() and ready.settings["companion"] is None


def test_its_patch_is_the_one_of_its_folder(tmp_path: Path) -> None:
    folder = tiny_sd15(tmp_path / "sd")
    pipe = opened(folder)
    family: Any = loaded.handed(pipe, {}, {"name": "mine"}).family
    values = {TEXT: family.stored[TEXT] + 1}
    for name, base in (("a", family.stored), ("b", find_layout(folder).read())):
        write_patch(tmp_path / f"{name}.safetensors", values, base, method="razor", target="owl")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    assert verify(tmp_path / "a.safetensors", folder) == [] and family.label == "mine"


def test_new_values_go_into_a_copy_and_it_draws(tmp_path: Path) -> None:
    pipe = opened(tiny_sd15(tmp_path / "sd"))
    before = bits(pipe)
    copy = loaded.copied(pipe)
    loaded.write(copy, {TEXT: pipe.text_encoder.get_parameter(TEXT.partition(".")[2]) + 1})
    after = bits(copy)
    assert bits(pipe) == before and {n for n in after if after[n] != before[n]} == {TEXT}
    assert not torch.equal(drawn(pipe), drawn(copy))


def test_the_clip_beside_the_folder_is_found_and_part_of_the_name(tmp_path: Path) -> None:
    folder = tiny_sd15(tmp_path / "sd")
    plain = loaded.handed(opened(folder), {}, {}).settings
    paired_clip(folder, tmp_path / "sd_clip")
    found = loaded.handed(opened(folder), {}, {})
    given = loaded.handed(opened(folder), {}, {"companion": tmp_path / "sd_clip"})
    assert found.settings["companion"] == {"text_encoder": str(tmp_path / "sd_clip")}
    assert found.settings == given.settings and found.settings["weights"] != plain["weights"]
    spec = loaded.LoadedPipeline(**{k: v for k, v in found.settings.items() if k != "_target_"})
    assert "dual" in spec.offers and list(spec.beside("owl")) == ["paired_text_encoder"]
    assert "dual" not in loaded.LoadedPipeline().offers


def test_what_cannot_be_served_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    pipe = opened(tiny_sd15(tmp_path / "sd"))
    other = StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False)
    with pytest.raises(WeightsError, match="class is not served"):
        razor_cli.unlearn(other, "owl")
    with pytest.raises(ConfigError, match=r"model\.batch_size: there is no such setting"):
        loaded.handed(pipe, {}, {"batch_size": 3})
    with pytest.raises(ConfigError, match="companion has the wrong type"):
        loaded.handed(pipe, {}, {"companion": 3})
    with pytest.raises(WeightsError, match=r"model\.companion\.text_encoder: no such folder"):
        loaded.handed(pipe, {}, {"companion": tmp_path / "nowhere"})
    with pytest.raises(ConfigError, match=r"model\.dtype=float16 is for GPUs"):
        loaded.handed(pipe, {}, {"dtype": "float16"})
    with pytest.raises(ConfigError, match="target has the wrong type"):
        razor_cli.unlearn(pipe, None)
    with pytest.raises(ConfigError, match="the model is what is handed over"):
        razor_cli.unlearn(pipe, "owl", model__weights="x")
    monkeypatch.setattr(loaded, "free_memory", lambda: 1000)
    with pytest.raises(ConfigError, match="bfloat16"):
        loaded.handed(pipe, {}, {})
    pipe.scheduler.register_to_config(prediction_type="sample")
    with pytest.raises(RazorError, match="predicts"):
        loaded.handed(pipe, {}, {})


def test_a_command_line_finds_the_same_edit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    folder = tiny_sd15(tmp_path / "sd")
    paired_clip(folder, tmp_path / "sd_clip")
    sizes = {"forget": 2, "retain": 4, "validation_forget": 2, "validation_retain": 2}
    sizes |= {"evaluation_forget": 4, "evaluation_retain": 8, "unseen": 2}
    asked: dict[str, Any] = {f"data__n_{name}": count for name, count in sizes.items()}
    asked |= {"data__steps": 1, "metrics__judged_by": "zero_shot"}
    groups = {"method": "random", "scenario": "style", "data": "generated"}
    pipe = opened(folder)
    before = bits(pipe)
    found = razor_cli.unlearn(pipe, "Cubism", **groups, **asked)
    assert bits(pipe) == before
    after = bits(found.model)
    assert {n for n in after if after[n] != before[n]} == set(found.edit.values) != set()
    words = [f"{k.replace('__', '.')}={v}" for k, v in {**groups, **asked}.items()]
    words += ["model=sd15", f"model.weights={folder}", "target=Cubism"]
    experiment = compose.checked(command_line.read(words))
    (tmp_path / "edit").mkdir()
    run = edit_alone(experiment, Screen(file=io.StringIO()), tmp_path / "edit")
    assert run.path("patch.safetensors").read_bytes() == found.edit.patch
    assert verify(tmp_path / "edit/patch.safetensors", folder) == []
