"""What a folder of transformers must hold beside its weights, judged before any of it is used: nothing
is made up for what is missing, and nothing is passed over. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from razor_cli.data.sources.pixels import SHORT_SIDE
from razor_cli.errors import WeightsError
from razor_cli.families.clip.files import BESIDE_WEIGHTS
from razor_cli.families.clip.hf_kinds import CLIP, KINDS, REFUSED, Kind
from razor_cli.families.clip.sizes import check_hugging_face
from razor_cli.weights.json_file import LISTS_BYTES, SETTINGS_BYTES, read_json

LISTS = ("tokenizer.json", "vocab.json")
# Settings of a processor that change no pixel here: pictures are RGB when they reach it, one at a time.
IDLE = (
    "image_processor_type feature_extractor_type processor_class transformers_version _valid_processor_keys "
    "_valid_kwargs_names do_convert_rgb data_format input_data_format device return_tensors "
    "disable_grouping image_seq_length default_to_square pad_size"
).split()
PIECES = "spiece.model"
NEEDED_FOR_PIECES = {"sentencepiece": "sentencepiece", "google.protobuf": "protobuf"}  # module -> package
TOWERS = ("clip",)  # whose towers other families take; only this family's own models may be of another kind
FILTERS = {1: "lanczos", 2: "bilinear", 3: "bicubic"}


def read_config(folder: Path, kinds: Collection[str] = TOWERS) -> dict[str, Any]:
    """Return config.json of a folder, with a part for each tower. Raises WeightsError for one that is
    missing, of a kind of model that is none of `kinds`, or not of these weights.
    """
    file = folder / "config.json"
    config = read_json(file)
    kind = str(config.get("model_type"))
    if kind not in kinds:
        why, fix = REFUSED.get(
            kind, ("", f"give the folder of a {' or '.join(KINDS[k].title for k in kinds)}")
        )
        raise WeightsError(
            f"{file} describes {why or 'another kind of model'}",
            allowed=f"model_type {' or '.join(kinds)}",
            found=f"model_type {kind}",
            fix=fix,
        )
    for part in ("vision_config", "text_config"):
        given = [config.get(part) or {}, config.pop(f"{part}_dict", None) or {}]  # old files have it in both
        if not all(isinstance(values, dict) for values in given):
            raise WeightsError(f"{file}: {part} is not a configuration", found=repr(given)[:80])
        config[part] = {**given[0], **given[1]}
    if config["vision_config"].get("vision_use_head", True) is not True:  # only a SigLIP has this
        raise WeightsError(
            f"{file}: the image tower pools nothing", found="vision_config.vision_use_head false"
        )
    check_hugging_face(file, config, KINDS[kind].sizes)
    return config


def is_siglip(folder: Path) -> bool:
    """Tell whether a folder's config.json speaks of a SigLIP; files that cannot be read are judged by
    others.
    """
    file = folder / "config.json"
    return file.is_file() and read_json(file).get("model_type") in ("siglip", "siglip2")


def check_folder(folder: Path, kinds: Collection[str] = TOWERS) -> None:
    """Raise WeightsError unless all files beside the weights are there and can be followed."""
    if not (folder / "config.json").exists():
        raise WeightsError(
            f"model.weights: '{folder}' is no Hugging Face CLIP folder",
            found="no config.json in it",
            fix="give the folder of a CLIP that transformers saved: model.weights=DIR",
        )
    config = read_config(folder, kinds)
    kind = KINDS[config["model_type"]]
    check_tokenizer_files(folder, kind)
    for name in BESIDE_WEIGHTS:
        if name.endswith(".json") and (folder / name).exists():
            read_json(folder / name, LISTS_BYTES if name in LISTS else SETTINGS_BYTES)
    read_processor(folder, config["vision_config"].get("image_size", 224), kind)


def check_tokenizer_files(folder: Path, kind: Kind = CLIP) -> None:
    """Raise WeightsError for a folder without the files of a tokenizer, or with those of another kind."""
    if not any((folder / name).is_file() for name in kind.tokenizer_files):
        missing = [name for name in ("vocab.json", "merges.txt") if not (folder / name).is_file()]
        if missing:
            raise WeightsError(
                f"the folder {folder} has no tokenizer: texts could not be told apart",
                allowed=f"vocab.json and merges.txt, or {' or '.join(kind.tokenizer_files)}",
                found=f"no tokenizer.json, no {', no '.join(missing)}",
                fix="save the model's tokenizer into the folder: tokenizer.save_pretrained(FOLDER)",
            )
    file = folder / "tokenizer_config.json"
    named = read_json(file).get("tokenizer_class") if file.exists() else None
    if named is not None and named not in kind.tokenizers:
        raise WeightsError(
            f"{file}: tokenizer_class is not followed", allowed=", ".join(kind.tokenizers), found=repr(named)
        )
    check_pieces(folder, named)


def check_pieces(folder: Path, named: object) -> None:
    """Raise WeightsError, naming the packages, for a folder whose tokenizer only sentencepiece can read;
    `named` is its class.
    """
    if not (folder / PIECES).is_file() or (
        (folder / "tokenizer.json").is_file() and named != "SiglipTokenizer"
    ):
        return
    missing = [package for module, package in NEEDED_FOR_PIECES.items() if not _is_there(module)]
    if missing:
        raise WeightsError(
            f"the folder {folder} has a tokenizer of sentencepiece ({PIECES}), which is not installed",
            found=f"missing: {', '.join(missing)}",
            fix=f"pip install {' '.join(missing)}",
        )


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def read_processor(folder: Path, image_size: int, kind: Kind = CLIP) -> dict[str, Any]:
    """Return the settings of a folder's picture processor, every one of them said. `image_size` is the side
    of the pictures that the model takes.

    Raises WeightsError for a processor that is missing, and for a setting that cannot be followed.
    """
    file, found = _saved(folder)
    said = {key: value for key, value in found.items() if value is not None}
    _check_known(file, said, kind)
    settings: dict[str, Any] = {key: said.get(key, default) for key, default in kind.pictures.items()}
    square = said.get("default_to_square", False) is True
    settings["size"] = _sides(file, "size", settings["size"], square)
    if settings["do_center_crop"]:
        settings["crop_size"] = _sides(file, "crop_size", settings["crop_size"], square=True)
    for key in ("image_mean", "image_std"):
        settings[key] = _channels(file, key, settings[key])
    factor = settings["rescale_factor"]
    if not _is_number(factor) or not factor > 0:
        raise _refused(file, "rescale_factor", "a number > 0", factor)
    for key, value in settings.items():
        if key.startswith("do_") and not isinstance(value, bool):
            raise _refused(file, key, "true or false", value)
    _check_shape(file, settings, image_size)
    return settings


def _saved(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Return the file that the library would follow, and the settings in it."""
    whole, alone = folder / "processor_config.json", folder / "preprocessor_config.json"
    if whole.exists() and isinstance(inner := read_json(whole).get("image_processor"), dict):
        return whole, inner
    if alone.exists():
        return alone, read_json(alone)
    raise WeightsError(
        f"the folder {folder} has no picture processor: how pictures enter the model is not known",
        allowed="preprocessor_config.json, or processor_config.json with an image_processor",
        fix="save the model's processor into the folder: processor.save_pretrained(FOLDER)",
    )


def _check_known(file: Path, said: Mapping[str, Any], kind: Kind) -> None:
    for key in ("image_processor_type", "feature_extractor_type"):
        if said.get(key, kind.processors[0]) not in kind.processors:
            raise _refused(file, key, ", ".join(kind.processors), said[key])
    if said.get("data_format", "channels_first") != "channels_first":
        raise _refused(file, "data_format", "channels_first", said["data_format"])
    for key, value in said.items():
        if key not in kind.pictures and key not in IDLE and value is not False:
            raise _refused(file, key, ", ".join(kind.pictures), value)


def _sides(file: Path, key: str, value: Any, square: bool) -> dict[str, int]:
    """Return a size by its sides: one number is the shorter side, or both where `square`."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"height": value, "width": value} if square else {"shortest_edge": value}
    elif isinstance(value, list) and len(value) == 2:
        value = {"height": value[0], "width": value[1]}
    forms: list[set[str]] = [{"height", "width"}] + ([{"shortest_edge"}] if key == "size" else [])
    said = {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else {}
    sides = said.values()
    if set(said) not in forms or not all(type(side) is int and 0 < side <= SHORT_SIDE for side in sides):
        allowed = " or ".join(" and ".join(sorted(form)) for form in forms)
        raise _refused(file, key, f"{allowed}, up to {SHORT_SIDE}: larger pictures are not read", value)
    return said


def _channels(file: Path, key: str, value: Any) -> list[float]:
    values = [value] * 3 if _is_number(value) else value
    if not isinstance(values, list) or len(values) != 3 or not all(map(_is_number, values)):
        raise _refused(file, key, "a number, or one for each of three channels", value)
    if key == "image_std" and min(values) <= 0:
        raise _refused(file, key, "numbers > 0", value)
    return [float(v) for v in values]


def _check_shape(file: Path, settings: Mapping[str, Any], image_size: int) -> None:
    """Refuse what does not lead every picture to the square that the model takes."""
    if not settings["do_resize"]:
        allowed = f"true: pictures are reduced to {SHORT_SIDE} pixels when they are read"
        raise _refused(file, "do_resize", allowed, False)
    if type(settings["resample"]) is not int or settings["resample"] not in FILTERS:
        allowed = ", ".join(f"{number} ({name})" for number, name in FILTERS.items())
        raise _refused(file, "resample", allowed, settings["resample"])
    crops, size = settings["do_center_crop"], settings["size"]
    if not crops and "shortest_edge" in size:
        raise _refused(
            file, "do_center_crop", "true with size.shortest_edge: pictures become one shape", False
        )
    key = "crop_size" if crops else "size"
    if set(settings[key].values()) != {image_size}:
        raise _refused(file, key, f"{image_size}, as config.json says of the model", settings[key])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _refused(file: Path, key: str, allowed: str, found: Any) -> WeightsError:
    return WeightsError(
        f"{file}: {key} is not followed",
        allowed=allowed,
        found=f"{key}: {repr(found)[:200]}",
        fix="give a folder whose pictures are prepared in one of the allowed ways: with another, the "
        "model would see other pictures than it was trained with",
    )
