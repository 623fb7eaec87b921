"""Pipelines that are refused before any weight is read, each with what is wrong, what is allowed, what was
found and what to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sd_folders import NO_WEIGHTS, SD3, SD15, folder_of, only, opened

SERVED = (
    "StableDiffusionPipeline (Stable Diffusion 1.x and 2.x), StableDiffusion3Pipeline (Stable Diffusion 3)"
)
AGAIN = "fetch or save the whole model again"


@pytest.mark.parametrize("model", [SD15, SD3], ids=["sd15", "sd3"])
def test_what_is_served_has_no_problems(tmp_path: Path, model: dict[str, Any]) -> None:
    assert opened(folder_of(tmp_path / "m", model)).problems() == []


def test_a_safety_checker_that_is_listed_and_absent_is_not_missed(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    assert "safety_checker" in json.loads((folder / "model_index.json").read_text())
    assert not (folder / "safety_checker").exists() and opened(folder).problems() == []


@pytest.mark.parametrize(
    ("cls", "called"),
    [
        ("StableDiffusionXLPipeline", "StableDiffusionXLPipeline (Stable Diffusion XL)"),
        ("FluxPipeline", "FluxPipeline (FLUX)"),
        ("StableDiffusionInpaintPipeline", "StableDiffusionInpaintPipeline (an inpainting model)"),
        ("AudioLDMPipeline", "AudioLDMPipeline"),
    ],
)
def test_other_pipelines_are_refused_by_their_class(tmp_path: Path, cls: str, called: str) -> None:
    folder = folder_of(tmp_path / "m", SD15, index={"_class_name": cls})
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: the pipeline in '{folder}' is not served"
    assert problem.allowed == SERVED and problem.found == called
    assert problem.fix == "give a folder of one of these two pipelines, or the stand-in: model=sd_tiny"


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"dual_attention_layers": [0, 1]}, "dual_attention_layers: [0, 1]"),
        ({"qk_norm": "rms_norm"}, "qk_norm: rms_norm"),
    ],
)
def test_stable_diffusion_3_5_is_refused_by_its_transformer(
    tmp_path: Path, said: dict[str, Any], found: str
) -> None:
    folder = folder_of(tmp_path / "m", SD3, transformer=said)
    problem = only(opened(folder).problems())
    assert problem.what == (
        f"model.weights: the transformer of '{folder}' is that of Stable Diffusion 3.5, which is not served"
    )
    assert problem.allowed == f"{SERVED}; of the transformer no dual_attention_layers and no qk_norm"
    assert problem.found == found
    assert problem.fix == "give a folder of Stable Diffusion 3, or the stand-in: model=sd3_tiny"


def test_stable_diffusion_2_is_served_with_velocity(tmp_path: Path) -> None:
    wide = {"unet": {"cross_attention_dim": 1024}, "text_encoder": {"hidden_size": 1024}}
    folder = folder_of(tmp_path / "m", SD15, scheduler={"prediction_type": "v_prediction"}, **wide)
    assert opened(folder).problems() == []


def test_another_prediction_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15, scheduler={"prediction_type": "sample"})
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: the scheduler of '{folder}' is not served: what the UNet predicts"
    assert (problem.allowed, problem.found) == ("prediction_type epsilon or v_prediction", "sample")


@pytest.mark.parametrize(
    ("said", "what", "found"),
    [
        ({"in_channels": 9}, "the UNet of '{}' does not go with its VAE", "9: an inpainting model"),
        (
            {"addition_embed_type": "text_time"},
            "the UNet of '{}' wants more than a prompt",
            "addition_embed_type: text_time",
        ),
        (
            {"cross_attention_dim": 1024},
            "the text encoder of '{}' is not the one that its net was trained with",
            1024,
        ),
        (
            {"quantization_config": {"load_in_8bit": True}},
            "the component unet of '{}' is stored quantized",
            "quantization_config in unet/config.json",
        ),
    ],
)
def test_a_unet_of_another_model_is_refused(
    tmp_path: Path, said: dict[str, Any], what: str, found: object
) -> None:
    folder = folder_of(tmp_path / "m", SD15, unet=said)
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: {what.format(folder)}"
    assert problem.found == found and problem.allowed and problem.fix


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("vae", {"latent_channels": 4}),
        ("text_encoder_2", {"projection_dim": 768}),
        ("text_encoder_3", {"d_model": 1024}),
    ],
)
def test_parts_of_sd3_that_do_not_belong_together_are_refused(
    tmp_path: Path, part: str, said: dict[str, Any]
) -> None:
    folder = folder_of(tmp_path / "m", SD3, **{part: said})
    problem = only(opened(folder).problems())
    assert "trained with" in problem.what or "does not go with its VAE" in problem.what
    assert problem.fix == "give a folder whose parts were trained together"


def test_a_folder_of_another_layout_is_told_what_it_is(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    for place, found in (
        (folder / "unet", "one component of a pipeline: model_index.json lies in the folder above"),
        (folder / "unet" / "..", None),
        (tmp_path, "no model_index.json"),
    ):
        problems = opened(place).problems()
        assert [p.found for p in problems] == ([found] if found else [])
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip/config.json").write_text('{"model_type": "clip"}')
    problem = only(opened(tmp_path / "clip").problems())
    assert problem.what == f"model.weights: '{tmp_path / 'clip'}' is no pipeline of diffusers"
    assert problem.found == "one model alone: clip"
    assert (
        problem.allowed
        == f"a folder with model_index.json of a {SERVED}, or a .safetensors file of Stable Diffusion 1.x"
    )


def test_no_such_folder(tmp_path: Path) -> None:
    problem = only(opened(tmp_path / "nowhere").problems())
    assert problem.what == "model.weights: no such file or folder (model=mine)"
    assert problem.found == str(tmp_path / "nowhere") and "model=sd_tiny" in str(problem.fix)


def test_every_missing_component_is_named_at_once(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15, vae=None, tokenizer=None)
    (folder / "unet/diffusion_pytorch_model.safetensors").unlink()
    found = {p.what: (p.found, p.fix) for p in opened(folder).problems()}
    assert found == {
        f"model.weights: '{folder}' lacks the component vae": ("no folder 'vae'", AGAIN),
        f"model.weights: '{folder}' lacks the component tokenizer": ("no folder 'tokenizer'", AGAIN),
        f"model.weights: the component unet of '{folder}' has no weights": ("none of them", AGAIN),
    }


def test_a_component_of_another_class_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15, index={"vae": ["diffusers", "AutoencoderTiny"]})
    problem = only(opened(folder).problems())
    index = folder / "model_index.json"
    assert problem.what == (
        f"model.weights: {index}: vae is not what a StableDiffusionPipeline is made of here"
    )
    assert (problem.allowed, problem.found) == ("AutoencoderKL", "AutoencoderTiny")


def test_shards_that_are_missing_are_counted(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    unet = folder / "unet"
    (unet / "diffusion_pytorch_model.safetensors").unlink()
    names = [f"diffusion_pytorch_model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    (unet / names[0]).write_bytes(NO_WEIGHTS)
    index = unet / "diffusion_pytorch_model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"w{i}": name for i, name in enumerate(names)}}))
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: {index} names shards that are missing"
    assert problem.found == f"2 of 3: {names[1]}, {names[2]}" and problem.fix == AGAIN
    index.write_text(json.dumps({"weight_map": {"w": "../../elsewhere.safetensors"}}))
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: {index} names a shard that is no weights file of its folder"


def test_a_variant_that_is_missing_names_those_there_are(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    assert only(opened(folder, variant="fp16").problems()).allowed == "null: there are no variants"
    plain = folder / "unet/diffusion_pytorch_model.safetensors"
    (folder / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(NO_WEIGHTS)
    assert opened(folder, variant="fp16").problems() == []  # the others have none: they are taken plain
    problem = only(opened(folder, variant="bf16").problems())
    assert problem.what == f"model.variant=bf16: no component in '{folder}' has such weights"
    assert (problem.allowed, problem.found, problem.fix) == ("fp16", "bf16", "model.variant=fp16")
    plain.unlink()
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: the component unet of '{folder}' has no weights"
    assert (problem.found, problem.fix) == ("weights of the variants fp16", "model.variant=fp16")
