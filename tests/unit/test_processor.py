"""How a folder of transformers prepares pictures is followed whole, or refused by name: never in part."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from beside_cases import SIDE, change, folder, refused, saved
from PIL import Image

from razor_cli.errors import WeightsError
from razor_cli.families.clip.hf_files import read_processor
from razor_cli.families.clip.hugging_face import load_hugging_face

__all__ = ["folder", "saved"]  # fixtures
NOISE = np.random.default_rng(0).integers(0, 255, (5, 8, 3), dtype=np.uint8)
WIDE = Image.fromarray(NOISE).resize((96, 64), Image.Resampling.BICUBIC)


CHANGES: dict[str, list[Any]] = {
    "do_resize": [False],
    "size": [
        {"height": SIDE, "width": SIDE},
        {"shortest_edge": 24},
        24,
        [40, 20],
        {"longest_edge": 24},
        {"shortest_edge": 600},
        {"shortest_edge": 0},
        {"height": 20},
        "16",
    ],
    "resample": [0, 1, 2, 4, 5, 9, "bicubic"],
    "do_center_crop": [False],
    "crop_size": [SIDE, 12, {"height": SIDE, "width": 8}],
    "do_rescale": [False],
    "rescale_factor": [1 / 127.5, 0, -1, "x"],
    "do_normalize": [False],
    "image_mean": [[0.1, 0.2, 0.3], 0.5, [0.1], [True, 0, 0]],
    "image_std": [[0.1, 0.2, 0.3], 0.5, [0.0, 1, 1]],
    "do_convert_rgb": [False],
    "do_pad": [True, False],
    "default_to_square": [True],
    "do_flip_channel_order": [True, None],
    "crop_pct": [0.9],
    "image_processor_type": ["SiglipImageProcessor", "CLIPFeatureExtractor"],
    "data_format": ["channels_last"],
}


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(("key", "value"), [(k, v) for k, values in CHANGES.items() for v in values])
def test_a_setting_of_the_processor_is_followed_or_refused_by_name(
    folder: Path, key: str, value: Any, together: bool
) -> None:
    from transformers import CLIPImageProcessor

    file = folder / "preprocessor_config.json"
    changed = {**json.loads(file.read_text()), key: value}
    if together:
        file.unlink()
        file = folder / "processor_config.json"
    file.write_text(json.dumps({"image_processor": changed} if together else changed))
    try:
        found = read_processor(folder, SIDE)
    except WeightsError as error:
        assert f"{file}: {key} is not followed" in str(error) and error.exit_code == 2
        return
    wanted, mine = (
        p(images=WIDE, return_tensors="pt")["pixel_values"][0]
        for p in (CLIPImageProcessor.from_pretrained(folder), CLIPImageProcessor(**found))
    )
    assert mine.shape == (3, SIDE, SIDE) and float((mine - wanted).abs().max()) <= 0.05


@pytest.mark.parametrize(
    ("settings", "followed"),
    [
        ({"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}, True),
        ({"size": {"height": SIDE, "width": 24}, "do_center_crop": False}, False),
        ({"size": {"shortest_edge": 24}}, True),
        ({"do_rescale": False, "do_normalize": False}, True),
        ({"image_mean": 0.5, "image_std": 0.5, "resample": 2, "size": 20}, True),
    ],
)
def test_the_loaded_model_sees_what_the_librarys_processor_makes(
    folder: Path, settings: dict[str, Any], followed: bool
) -> None:
    from transformers import CLIPImageProcessor

    change(folder / "preprocessor_config.json", **settings)
    if not followed:
        refused(folder, "size is not followed")
        return
    wanted = CLIPImageProcessor.from_pretrained(folder)(images=WIDE, return_tensors="pt")["pixel_values"]
    plain = load_hugging_face("hf", str(folder)).preprocess([WIDE])
    assert float((plain - wanted).abs().max()) <= 0.05


def test_the_wanted_settings_differ_in_their_pixels(folder: Path) -> None:
    """The differences that are looked for above are far larger than what is tolerated."""
    plain = load_hugging_face("hf", str(folder)).preprocess([WIDE])
    squashed = {"size": {"height": SIDE, "width": SIDE}, "do_center_crop": False}
    for settings in (squashed, {"size": 24, "do_center_crop": True}):
        change(folder / "preprocessor_config.json", **settings)
        assert float((load_hugging_face("hf", str(folder)).preprocess([WIDE]) - plain).abs().max()) > 0.5


def test_no_processor_is_made_up(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    refused(folder, str(folder), "preprocessor_config.json", "save_pretrained")
