"""What does not fit in a folder of a LLaVA is named before any weight is read."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from llava_folders import both, copied, spoil_json, spoil_tensors, told
from safetensors.torch import save_file
from tiny_llava import TILES

from razor_cli.contract.choices import Device
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.diffusion.choices import Precision
from razor_cli.families.llava.files import read_folder
from razor_cli.families.llava.kinds import Language
from razor_cli.families.llava.memory import GIB, check_memory, needed
from razor_cli.families.llava.spec import LlavaSpec

Spoil = Callable[[Path], None]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return both(tmp_path_factory.mktemp("loading"))


def _original(folder: Path) -> None:
    save_file({"model.mm_projector.0.weight": torch.zeros(2)}, folder / "model.safetensors")


def _vision(folder: Path, **changes: Any) -> None:
    said = json.loads((folder / "config.json").read_text())
    spoil_json(folder, "config.json", vision_config=said["vision_config"] | changes)


REFUSED: dict[str, tuple[Spoil, str]] = {
    "original keys": (_original, "spelling of the original LLaVA repository"),
    "original settings": (
        lambda f: spoil_json(f, "config.json", mm_vision_tower="openai/clip"),
        "answers at random | model_type llava",
    ),
    "another model": (
        lambda f: spoil_json(f, "config.json", model_type="blip"),
        r"is not served .* model_type blip",
    ),
    "patch size": (lambda f: spoil_json(f, "processor_config.json", patch_size=14), "patch_size: 8"),
    "one token too few": (
        lambda f: spoil_json(f, "processor_config.json", num_additional_image_tokens=0),
        "num_additional_image_tokens: 1",
    ),
    "strategy": (
        lambda f: spoil_json(f, "processor_config.json", vision_feature_select_strategy="full"),
        "vision_feature_select_strategy: default",
    ),
    "no template": (lambda f: (f / "chat_template.jinja").unlink(), "has no chat template"),
    "no pixels": (lambda f: (f / "preprocessor_config.json").unlink(), "has no picture processor"),
    "size": (
        lambda f: spoil_json(f, "preprocessor_config.json", crop_size={"height": 48, "width": 48}),
        "crop_size is not the size of pictures",
    ),
    "image token": (lambda f: spoil_json(f, "config.json", image_token_index=7), "another picture token"),
    "feature layer": (lambda f: spoil_json(f, "config.json", vision_feature_layer=-9), "names no layer"),
    "tower": (lambda f: _vision(f, model_type="siglip_vision_model"), "image tower .* is not served"),
    "layers": (lambda f: _vision(f, num_hidden_layers=5), "16 missing: model.vision_tower.encoder.layers.4"),
    "missing": (
        lambda f: spoil_tensors(f, lambda s: s.pop("multi_modal_projector.linear_1.bias")),
        "1 missing: model.multi_modal_projector.linear_1.bias",
    ),
    "unknown": (lambda f: spoil_tensors(f, lambda s: s.update(extra=torch.zeros(1))), "1 unknown: extra"),
    "quantized": (
        lambda f: spoil_json(f, "config.json", quantization_config={"bits": 4}),
        "stored quantized",
    ),
    "damaged settings": (lambda f: spoil_json(f, "config.json", vision_config=[]), "has no vision_config"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "has no weights"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_folder_that_does_not_fit_is_refused_before_weights_are_read(
    root: Path, tmp_path: Path, case: str
) -> None:
    spoil, said = REFUSED[case]
    folder = copied(root / "plain", tmp_path / "spoilt")
    assert told(folder) == ""
    spoil(folder)
    found = told(folder)
    assert re.search(said, found), found
    assert "model.weights: " in found
    with pytest.raises(WeightsError):
        LlavaSpec(weights=str(folder), stand_in=False, device=Device.CPU).open()


def test_tiles_must_be_those_of_the_model(root: Path, tmp_path: Path) -> None:
    folder = copied(root / "next", tmp_path / "next")
    spoil_json(folder, "preprocessor_config.json", image_grid_pinpoints=TILES[:1])
    assert "tiles would be counted wrongly" in told(folder)


def test_companions_must_be_there_and_of_the_towers_size(root: Path, tmp_path: Path) -> None:
    alone = shutil.copytree(root / "plain", tmp_path / "alone")
    assert "model.companion: the CLIP that the image tower comes from is needed" in told(alone)
    assert "clip-vit-large-patch14-336" in told(alone)
    clip = shutil.copytree(root / "plain_clip", tmp_path / "other")
    _vision(clip, num_hidden_layers=3)
    found = told(root / "plain", companion=str(clip))
    assert "is not the CLIP of that image tower" in found
    assert "num_hidden_layers: 3, not 4" in found


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.min_alignment"):
        LlavaSpec(min_alignment=2)
    with pytest.raises(ConfigError, match=r"model\.weights is needed"):
        LlavaSpec(stand_in=False)
    with pytest.raises(ConfigError, match="float16 is for GPUs"):
        LlavaSpec(device=Device.CPU, dtype=Precision.FLOAT16)
    found = LlavaSpec(weights="nowhere", stand_in=False).problems()
    assert "no such folder" in found[0].what


def test_too_little_memory_is_told_with_what_helps(root: Path) -> None:
    files = read_folder(root / "plain")
    full, int8 = (needed(files, "float32", how) for how in (Language.FULL, Language.INT8))
    assert full.language > 1.5 * int8.language
    assert needed(files, "bfloat16", Language.FULL).tower == full.tower / 2
    told = {"dtype": "float32", "language": Language.FULL}
    check_memory(files, full, full.total, "this machine", told=told)
    with pytest.raises(WeightsError, match="needs more memory than this machine has free") as error:
        check_memory(files, full, GIB // 8, "this machine", told=told)
    assert "model.answer_weights=int8" in str(error.value)
    assert "model.dtype=bfloat16" in str(error.value)
