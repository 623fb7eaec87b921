"""What the settings of a LLaVA's folder say against loading it: a processor of another model, words that are
not the model's, a CLIP that is not its image tower's. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError
from razor_cli.families.clip.hf_files import check_folder, read_config
from razor_cli.families.llava.files import AGAIN, CONFIG, OWNER, TEMPLATES, LlavaFiles
from razor_cli.families.llava.kinds import Variant
from razor_cli.families.llava.names import HEAD, LANGUAGE, canonical, projector_names, tower_names
from razor_cli.weights.json_file import LISTS_BYTES, read_json
from razor_cli.weights.model_files import refused, sensible

PIXELS, PROCESSOR, WORDS = "preprocessor_config.json", "processor_config.json", "tokenizer_config.json"
ADDITIONAL = 1  # tokens of the image tower beside its patches: CLS
IMAGE = "<image>"
SAVE = "save the processor that the model was trained with into the folder: processor.save_pretrained(DIR)"
# Sizes in which a CLIP must agree with the image tower that comes from it.
SIZES = ("hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size")


def refusals(files: LlavaFiles) -> list[WeightsError]:
    """Return everything that the settings and names of a folder say against loading it."""
    found: list[WeightsError] = []
    for check in (_quantized, _tower, _tensors, _pixels, _processor, _template, _image_token):
        try:
            with sensible(files.source, OWNER):
                found += check(files)
        except WeightsError as error:
            found.append(error)
    return found


def settings_refusals(files: LlavaFiles) -> list[WeightsError]:
    """Return what its settings alone say against a model whose files are not at hand."""
    with sensible(files.source, OWNER):
        return [*_quantized(files), *_tower(files)]


def filled(files: LlavaFiles) -> dict[str, Any]:
    """Return what a processor is told that counts the tokens of pictures: by the model's settings, as old
    folders leave it out and the library's defaults count one token too few.
    """
    return {
        "patch_size": files.vision.get("patch_size", 14),
        "vision_feature_select_strategy": files.config.get("vision_feature_select_strategy", "default"),
        "num_additional_image_tokens": ADDITIONAL,
    }


def _quantized(files: LlavaFiles) -> Iterator[WeightsError]:
    if files.config.get("quantization_config"):
        yield refused(
            f"'{files.path}' is stored quantized",
            allowed="float16, bfloat16 or float32",
            found=f"quantization_config in {CONFIG}",
            fix="give the weights from before; quantization=bnb_int8 is an axis of a run",
        )


def _tower(files: LlavaFiles) -> Iterator[WeightsError]:
    kind = files.vision.get("model_type", "clip_vision_model")
    if kind != "clip_vision_model":
        yield refused(
            f"the image tower of '{files.path}' is not served",
            allowed="vision_config.model_type clip_vision_model",
            found=kind,
            fix="give a LLaVA whose image tower is a CLIP's",
        )
    layers, strategy = files.vision["num_hidden_layers"], filled(files)["vision_feature_select_strategy"]
    if not 1 <= files.depth <= layers:
        yield refused(
            f"{files.path / CONFIG}: vision_feature_layer names no layer of the image tower",
            allowed=f"-{layers} to -1, or 1 to {layers}",
            found=files.config.get("vision_feature_layer"),
            fix=AGAIN,
        )
    if strategy not in ("default", "full"):
        yield refused(
            f"{files.path / CONFIG}: vision_feature_select_strategy is not followed",
            allowed="default, full",
            found=strategy,
            fix=AGAIN,
        )


def _tensors(files: LlavaFiles) -> Iterator[WeightsError]:
    """Compare the stored names with those of tower and projector; the language model's are counted when the
    model loads.
    """
    stored = {canonical(name) for name in files.names()}
    wanted = [
        *tower_names(files.vision),
        *projector_names(files.config.get("multimodal_projector_bias", True)),
        *(["model.image_newline"] if files.variant is Variant.LLAVA_NEXT else []),
    ]
    missing = [name for name in wanted if name not in stored]
    strangers = sorted(
        n for n in stored if n is not None and n not in wanted and not n.startswith((LANGUAGE, HEAD))
    )
    if not any(n is not None and n.startswith(LANGUAGE) for n in stored):
        missing.append(f"{LANGUAGE}…")
    if missing or strangers:
        counts = (("missing", missing), ("unknown", strangers))
        yield refused(
            f"the tensors of '{files.path}' do not fit its {CONFIG}",
            allowed=f"{len(wanted)} tensors of image tower and projector, in any version's spelling",
            found="; ".join(f"{len(n)} {k}: {', '.join(n[:3])}" for k, n in counts if n),
            fix="config.json and weights must be of one model: " + AGAIN,
        )


def _settings(files: LlavaFiles, name: str) -> dict[str, Any]:
    return read_json(files.path / name) if (files.path / name).is_file() else {}


def _image_processor(files: LlavaFiles) -> tuple[Path, Mapping[str, Any]]:
    """Return how pictures are prepared, and the file that says so. Raises WeightsError where none does."""
    whole = _settings(files, PROCESSOR).get("image_processor")
    if isinstance(whole, dict):
        return files.path / PROCESSOR, whole
    if (files.path / PIXELS).is_file():
        return files.path / PIXELS, read_json(files.path / PIXELS)
    raise refused(
        f"'{files.path}' has no picture processor: how pictures enter the model is not known",
        allowed=f"{PIXELS}, or {PROCESSOR} with an image_processor",
        fix=SAVE,
    )


def _pixels(files: LlavaFiles) -> Iterator[WeightsError]:
    file, said = _image_processor(files)
    side = files.vision.get("image_size", 336)
    for key in ("crop_size", "size") if files.variant is Variant.LLAVA else ("size",):
        if isinstance(given := said.get(key), dict):
            sides = {v for v in given.values() if v is not None}
        else:
            sides = set() if given is None else {given}
        if sides and sides != {side}:
            yield refused(
                f"{file}: {key} is not the size of pictures that the image tower takes",
                allowed=f"{side}, as vision_config.image_size",
                found=f"{key}: {given}",
                fix=SAVE,
            )
    if files.variant is Variant.LLAVA_NEXT:
        grids = [
            sorted(map(list, g)) if g else None
            for g in (said.get("image_grid_pinpoints"), files.config.get("image_grid_pinpoints"))
        ]
        if grids[0] != grids[1]:
            yield refused(
                f"{file}: image_grid_pinpoints are not those of {CONFIG}: tiles would be counted wrongly",
                allowed=f"{grids[1]}",
                found=f"{grids[0]}",
                fix=SAVE,
            )


def _processor(files: LlavaFiles) -> Iterator[WeightsError]:
    """Compare what the processor says of picture tokens; what it leaves open is filled from config.json."""
    said = {**_settings(files, PIXELS), **_settings(files, PROCESSOR)}
    for key, value in filled(files).items():
        if said.get(key, value) not in (value, None):
            yield refused(
                f"the processor of '{files.path}' counts the tokens of a picture otherwise than the model",
                allowed=f"{key}: {value}",
                found=f"{key}: {said[key]}",
                fix=f"write {key}: {value} into {PROCESSOR}, or take the line out",
            )


def _template(files: LlavaFiles) -> Iterator[WeightsError]:
    held = [_settings(files, name).get("chat_template") for name in (PROCESSOR, WORDS)]
    if not any((files.path / name).is_file() for name in TEMPLATES) and not any(held):
        yield refused(
            f"'{files.path}' has no chat template: how questions are put to the model is not known",
            allowed=f"{', '.join(TEMPLATES)}, or chat_template in {PROCESSOR} or {WORDS}",
            fix=SAVE,
        )


def _image_token(files: LlavaFiles) -> Iterator[WeightsError]:
    """Compare the token that stands for a picture: the tokenizer's, and the model's."""
    words = _settings(files, WORDS)
    token = _settings(files, PROCESSOR).get("image_token") or words.get("image_token") or IMAGE
    model = files.config.get("image_token_index", files.config.get("image_token_id"))
    known = dict(_special_tokens(files, words))
    if known.get(token) != model:
        yield refused(
            f"the tokenizer of '{files.path}' has another picture token than the model",
            allowed=f"'{token}' as a special token with the id {model} of {CONFIG}",
            found=f"id {known[token]}" if token in known else f"no special token '{token}'",
            fix=SAVE,
        )
    rows = files.text.get("vocab_size", 32000)
    if model is not None and not 0 <= model < rows:
        yield refused(
            f"{files.path / CONFIG}: the picture token is none that the model has an embedding for",
            allowed=f"0 to {rows - 1}, as text_config.vocab_size",
            found=model,
            fix=AGAIN,
        )


def _special_tokens(files: LlavaFiles, words: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield the special tokens of a tokenizer with their ids, whichever of its files has them."""
    whole = files.path / "tokenizer.json"
    for added in read_json(whole, LISTS_BYTES).get("added_tokens", []) if whole.is_file() else []:
        if added.get("special"):
            yield added["content"], added["id"]
    for number, added in words.get("added_tokens_decoder", {}).items():
        if added.get("special"):
            yield added["content"], int(number)


def companion_problems(files: LlavaFiles, folder: Path | None) -> list[WeightsError]:
    """Return what is wrong with the CLIP that the image tower comes from, by its settings."""
    what = "model.companion: the CLIP that the image tower comes from is needed"
    fix = "model.companion=DIR; of LLaVA 1.5 and 1.6 it is openai/clip-vit-large-patch14-336"
    if folder is None or not folder.is_dir():
        where = str(folder) if folder is not None else f"no folder {files.path}_clip"
        return [WeightsError(what, allowed="the folder of a CLIP of transformers", found=where, fix=fix)]
    try:
        check_folder(folder)
        mine = read_config(folder)["vision_config"]
    except WeightsError as error:
        what = f"model.companion: {error.what}"
        return [WeightsError(what, allowed=error.allowed, found=error.found, fix=error.fix)]
    different = [
        f"{s}: {mine[s]}, not {files.vision[s]}"
        for s in SIZES
        if s in mine and s in files.vision and mine[s] != files.vision[s]
    ]
    if different:
        return [
            WeightsError(
                f"model.companion: '{folder}' is not the CLIP of that image tower",
                allowed="the CLIP whose image tower the model has",
                found="; ".join(different),
                fix=fix,
            )
        ]
    return []
