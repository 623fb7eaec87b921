"""Pipelines that are refused before any weight is read, each with what is wrong, what is allowed, what was
found and what to do.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sd_folders import NO_WEIGHTS, SD3, SD15, WORDS, folder_of

from razor_cli.contract.choices import Device
from razor_cli.contract.family import DUAL
from razor_cli.errors import ConfigError, Problem
from razor_cli.families.diffusion import memory, spec
from razor_cli.families.diffusion.choices import Precision, ThirdEncoder
from razor_cli.families.diffusion.spec import DiffusionSpec

SERVED = (
    "StableDiffusionPipeline (Stable Diffusion 1.x and 2.x), StableDiffusion3Pipeline (Stable Diffusion 3)"
)
AGAIN = "fetch or save the whole model again"


def opened(folder: Path, **settings: Any) -> DiffusionSpec:
    return DiffusionSpec(name="mine", stand_in=False, weights=str(folder), **settings)


def only(found: list[Problem]) -> Problem:
    assert len(found) == 1, found
    assert found[0].allowed is not None or found[0].found is not None
    return found[0]


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


def test_sd3_goes_without_t5_where_it_is_null_or_switched_off(tmp_path: Path) -> None:
    nothing = {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    assert opened(folder_of(tmp_path / "null", SD3, index=nothing)).problems() == []
    folder = folder_of(tmp_path / "lost", SD3, text_encoder_3=None)
    problem = only(opened(folder).problems())
    assert problem.what == f"model.weights: '{folder}' lists text_encoder_3, of T5, and does not hold it"
    assert problem.found == "no folder 'text_encoder_3'"
    assert problem.fix == "model.t5=off loads the pipeline without T5, or fetch text_encoder_3"
    assert opened(folder, t5=ThirdEncoder.OFF).problems() == []


@pytest.mark.parametrize(
    ("file", "said", "what", "allowed", "found"),
    [
        ("config", {"vocab_size": 9}, "its size", "9 ids, one for each row of the embedding", f"{WORDS} ids"),
        ("config", {"eos_token_id": 3}, "its end token", "eos_token with id 3", f"id {WORDS - 1}"),
        ("config", {"bos_token_id": 3}, "its start token", "bos_token with id 3", f"id {WORDS - 2}"),
        ("config", {"max_position_embeddings": 8}, "its length", "model_max_length 2 to 8", 16),
        ("tokenizer", {"model_max_length": 10**30}, "its length", "model_max_length 2 to 77", 10**30),
        ("tokenizer", {"tokenizer_class": "T5"}, "its class", "CLIPTokenizer, CLIPTokenizerFast", "T5"),
    ],
)  # fmt: skip
def test_another_models_tokenizer_is_refused(
    tmp_path: Path, file: str, said: dict[str, Any], what: str, allowed: str, found: object
) -> None:
    folder = folder_of(tmp_path / "m", SD15, text_encoder=said if file == "config" else {})
    if file == "tokenizer":
        place = folder / "tokenizer/tokenizer_config.json"
        place.write_text(json.dumps(json.loads(place.read_text()) | said))
    problem = only(opened(folder).problems())
    tokenizer = folder / "tokenizer"
    assert (
        problem.what == f"model.weights: the tokenizer in '{tokenizer}' is not that of text_encoder: {what}"
    )
    assert (problem.allowed, problem.found) == (allowed, found)
    assert problem.fix == "give the tokenizer that the encoder was trained with"


def test_the_end_token_of_old_configurations_is_the_largest_id(tmp_path: Path) -> None:
    old = {"bos_token_id": 0, "eos_token_id": 2}
    assert opened(folder_of(tmp_path / "m", SD15, text_encoder=old)).problems() == []


def test_a_tokenizer_without_merges_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    (folder / "tokenizer/merges.txt").unlink()
    assert only(opened(folder).problems()).found == "no tokenizer.json, no merges.txt"


def test_half_precision_is_refused_where_it_cannot_be_computed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        opened(tmp_path, device=Device.CPU, dtype=Precision.FLOAT16)
    assert str(caught.value) == (
        "model.dtype=float16 is for GPUs: on a CPU it is slow, and many of its operations are missing\n"
        "  allowed: auto, float32, bfloat16\n"
        "  found: float16 on cpu\n"
        "  fix: model.dtype=bfloat16, or model.device=cuda"
    )
    folder = folder_of(tmp_path / "m", SD3)
    problem = only(opened(folder, dtype=Precision.FLOAT16).problems())
    assert problem.what == "model.dtype=float16 does not go with T5: its values leave what float16 holds"
    assert opened(folder, dtype=Precision.FLOAT16, t5=ThirdEncoder.OFF).problems() == []


def test_settings_of_another_kind_are_worded(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD3, text_encoder={"projection_dim": None})
    problem = only(opened(folder).problems())
    assert problem.what == "model.weights: the settings of 'm' hold values of another kind than a pipeline's"
    assert str(problem.found).startswith("TypeError")


def test_too_little_memory_names_what_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    billions = {"text_encoder_3": 4_700_000_000, "transformer": 2_000_000_000}
    monkeypatch.setattr(memory, "numbers_in", lambda part: billions.get(part.name, 100_000_000))
    monkeypatch.setattr(spec, "free_memory", lambda: 8 * 2**30)
    folder = folder_of(tmp_path / "m", SD3)
    problem = only(opened(folder, device=Device.CPU).problems())
    assert problem.what == "model.weights: 'm' needs more memory than this machine has free"
    assert problem.allowed == "8.0 GB" and "in float32: weights 26.1 GB, a gradient pass" in str(
        problem.found
    )
    assert problem.fix == (
        "model.dtype=bfloat16 halves it; model.batch=1 model.checkpointing=true keep less for gradients; "
        "model.t5=off saves 17.5 GB"
    )
    small = {"batch": 1, "checkpointing": True, "dtype": Precision.BFLOAT16, "t5": ThirdEncoder.OFF}
    assert opened(folder, device=Device.CPU, **small).problems() == []


def test_free_memory_is_what_system_and_container_leave(tmp_path: Path) -> None:
    proc, group = tmp_path / "meminfo", tmp_path / "group"
    assert memory.free_memory(proc, group) is None
    proc.write_text("MemTotal: 9 kB\nMemAvailable: 4 kB\n")
    assert memory.free_memory(proc, group) == 4096
    group.mkdir()
    (group / "memory.max").write_text("3000\n")
    (group / "memory.current").write_text("1000\n")
    assert memory.free_memory(proc, group) == 2000
    (group / "memory.max").write_text("max\n")
    assert memory.free_memory(proc, group) == 4096


def test_a_paired_clip_must_be_that_of_its_encoder(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "m", SD15)
    assert DUAL not in opened(folder).offers
    problem = only(opened(folder, companion=str(tmp_path / "no")).problems())
    assert problem.what == "model.companion.text_encoder: no such folder"
    problem = only(opened(folder, companion={"text_encoder_2": str(folder)}).problems())
    assert problem.what == (
        "model.companion.text_encoder_2: the pipeline has no such text encoder of the CLIP kind"
    )
    assert (problem.allowed, problem.fix) == ("text_encoder", "did you mean text_encoder?")
    assert DUAL in opened(folder, companion=str(tmp_path)).offers


def test_a_model_without_weights_must_be_a_stand_in() -> None:
    with pytest.raises(ConfigError, match=r"model\.weights is needed"):
        DiffusionSpec(name="mine", stand_in=False)
    problem = only(DiffusionSpec(name="mine").problems())
    assert problem.what == "model.weights: no stand-in is called 'mine'"
    with pytest.raises(ConfigError, match=r"model\.batch is out of range"):
        DiffusionSpec(batch=0)


def test_a_name_of_the_hub_is_told_from_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(spec, "cached", lambda name: None)
    hub = opened(Path("owner/name"))
    assert hub.problems() == [] and hub.missing() == (
        "'owner/name' of model=mine is no folder here and not in the hub's cache: fetched when the first job "
        "starts, which needs the network, or give model.weights=DIR"
    )
    (tmp_path / "owner").mkdir()
    assert only(hub.problems()).what == "model.weights: no such file or folder (model=mine)"
    monkeypatch.setattr(spec, "cached", lambda name: folder_of(tmp_path / "cache", SD15))
    hub = opened(Path("other/name"))
    assert hub.missing() == "" and hub.problems() == [] and len(hub.weights_hash()) == 64
    (tmp_path / "cache/unet/diffusion_pytorch_model.safetensors").unlink()
    asked: list[str] = []

    def fetch(name: str, **_: object) -> Path:
        asked.append(name)
        return folder_of(tmp_path / "cache", SD15)

    monkeypatch.setattr(spec, "fetched", fetch)
    monkeypatch.setattr(spec, "cached", lambda name: tmp_path / "cache")
    assert hub.problems() == [] and len(hub.weights_hash()) == 64 and asked == ["other/name"]
