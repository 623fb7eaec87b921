"""What a folder of open_clip says beside its weights: followed whole, or refused by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from open_clip.model import CLIPTextCfg, CLIPVisionCfg

from razor_cli.errors import WeightsError
from razor_cli.families.clip.architectures import FOLDER, FOLDER_CONFIG
from razor_cli.weights.json_file import read_json

CHOICES = {
    "mode": ("RGB",),
    "interpolation": ("bicubic", "bilinear", "random"),  # random is of training; judged pictures are bicubic
    "resize_mode": ("shortest", "longest", "squash"),
}
# Of the towers' settings, those that decide nothing about a loaded model that is not trained on.
IDLE = ("patch_dropout", "timm_model_pretrained", "hf_model_pretrained", "output_tokens")


def folder_config(path: Path) -> dict[str, Any] | None:
    """Return open_clip_config.json of a folder of weights, or None where there is none."""
    file = path / FOLDER_CONFIG
    if not path.is_dir() or not file.exists():
        return None
    config = read_json(file)
    for part in ("model_cfg", "preprocess_cfg"):
        if not isinstance(config.get(part) or {}, dict):
            raise WeightsError(f"{file}: {part} is not a configuration", found=repr(config[part])[:80])
    return config


def check_followed(path: Path, architecture: str, config: Mapping[str, Any]) -> None:
    """Raise WeightsError unless all that a folder of weights says beside them goes with the architecture's
    `config`; its activation function is judged elsewhere.
    """
    _check_same_model(path, architecture, config)
    pictures_of(path, config["vision_cfg"].get("image_size", 224))


def _check_same_model(path: Path, architecture: str, wanted: Mapping[str, Any]) -> None:
    said = (folder_config(path) or {}).get("model_cfg") or {}
    different = []
    for part, kind in (("vision_cfg", CLIPVisionCfg), ("text_cfg", CLIPTextCfg)):
        if not isinstance(said.get(part, {}), dict):
            raise WeightsError(f"{path / FOLDER_CONFIG}: model_cfg.{part} is not a configuration")
        if part in said:
            usual = asdict(kind())
            mine, theirs = ({**usual, **config[part]} for config in (wanted, said))
            keys = (mine.keys() | theirs.keys()).difference(IDLE)
            different += [
                f"{part}.{k}: {theirs.get(k)!r}, not {mine.get(k)!r}"
                for k in sorted(keys)
                if theirs.get(k) != mine.get(k)
            ]
    if different:
        raise WeightsError(
            f"{path / FOLDER_CONFIG} describes another model than model.architecture={architecture}",
            found="; ".join(different[:4]),
            fix=f"model.architecture={FOLDER}{path} builds the model that the folder describes",
        )


def pictures_of(path: Path, image_size: Any) -> dict[str, Any]:
    """Return how a folder says that pictures are prepared: mean, std, interpolation, resize_mode and
    fill_color, as far as it says so. `image_size` is what the model takes.

    Raises WeightsError for a setting that is unknown or cannot be followed.
    """
    found = (folder_config(path) or {}).get("preprocess_cfg") or {}
    said = {key: value for key, value in found.items() if value is not None}
    for key, value in said.items():
        _check(path / FOLDER_CONFIG, key, value, image_size)
    names = ("mean", "std", "interpolation", "resize_mode", "fill_color")
    values = {name: said[name] for name in names if name in said}
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}


def _check(file: Path, key: str, value: Any, image_size: Any) -> None:
    allowed: object = None
    if key in CHOICES:
        allowed = CHOICES[key] if value not in CHOICES[key] else None
    elif key in ("mean", "std"):
        numbers = value if isinstance(value, list) else [value] * 3
        fits = len(numbers) == 3 and all(map(_is_number, numbers)) and (key == "mean" or min(numbers) > 0)
        allowed = None if fits else "a finite number for each of three channels; of std above 0"
    elif key == "size":
        allowed = None if _pair(value) == _pair(image_size) else f"{image_size}, as the model takes them"
    elif key == "fill_color":
        allowed = None if type(value) is int and 0 <= value <= 255 else "0 to 255"
    else:
        allowed = "mean, std, interpolation, resize_mode, fill_color, size, mode"
    if allowed is not None:
        raise WeightsError(
            f"{file}: preprocess_cfg.{key} is not followed",
            allowed=allowed,
            found=f"{key}: {repr(value)[:200]}",
            fix="give a folder whose pictures are prepared in one of the allowed ways: with another, the "
            "model would see other pictures than it was trained with",
        )


def _pair(size: Any) -> tuple[Any, Any]:
    return (size[0], size[-1]) if isinstance(size, list | tuple) and size else (size, size)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
