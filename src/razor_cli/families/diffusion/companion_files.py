"""The paired CLIPs of a pipeline's text encoders, found and judged by their files. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path

from razor_cli.errors import WeightsError, headline, nearest
from razor_cli.families.clip.files import beside_weights, salt_of, weight_files
from razor_cli.families.clip.hf_files import check_folder, read_config
from razor_cli.families.diffusion.files import PipelineFiles
from razor_cli.families.diffusion.hub import cached, is_hub_name
from razor_cli.runs.remembered import file_hash

FIRST = "text_encoder"
CONFIG = "config.json"
# What a paired CLIP that lies beside a pipeline's folder is called: like the folder, and this.
BESIDE = {FIRST: "_clip", "text_encoder_2": "_clip_2"}


def companions_of(
    place: Path,
    given: str | Mapping[str, str] | None,
    of_hub: Callable[[str], Path | None] = lambda name: cached(name, CONFIG),
) -> dict[str, Path]:
    """Return the folder of each encoder's paired CLIP: those given, else those that lie beside the folder of
    the pipeline at `place` and are called like it. These go before a name of the hub, too; `of_hub` says
    where the hub's are, and one that it has not got is left out.
    """
    named = {FIRST: given} if isinstance(given, str) else given
    near = {name: place.with_name(place.name + end) for name, end in BESIDE.items() if place.name}
    beside = {name: folder for name, folder in near.items() if folder.is_dir()}
    if not named:
        return beside
    found: dict[str, Path | None] = {}
    for name, text in named.items():
        own = (beside.get(name) or of_hub(text)) if is_hub_name(text) else Path(text).expanduser()
        found[name] = own
    return {name: folder for name, folder in found.items() if folder is not None}


def fetched_clip(name: str) -> Path:
    """Return the folder of a CLIP of the hub, fetched where it is not in the cache. Raises WeightsError where
    the hub does not give it.
    """
    if (known := cached(name, CONFIG)) is not None:
        return known
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.txt", "*.safetensors"]))
    except Exception as error:  # no network, no such repository
        raise WeightsError(
            f"model.companion: '{name}' is no folder here, and the hub does not give it",
            found=headline(error),
            fix="model.companion=DIR with the CLIP that the text encoder comes from; or "
            "model.companion=null, and metrics.judges=DIR for who judges",
        ) from error


def companion_problems(files: PipelineFiles, companions: Mapping[str, Path]) -> list[WeightsError]:
    """Return what is wrong with paired CLIPs, by their settings."""
    encoders, found = files.encoders(), []
    for name, folder in companions.items():
        key = f"model.companion.{name}"
        if name not in encoders:
            close = nearest(name, encoders)
            found.append(
                WeightsError(
                    f"{key}: the pipeline has no such text encoder of the CLIP kind",
                    allowed=", ".join(encoders),
                    found=name,
                    fix=f"did you mean {close[0]}?" if close else None,
                )
            )
            continue
        if not folder.is_dir():
            fix = f"{key}=DIR with the CLIP that the encoder is the text tower of, or model.companion=null"
            found.append(WeightsError(f"{key}: no such folder", found=str(folder), fix=fix))
            continue
        try:
            check_folder(folder)
            found += _unlike(key, read_config(folder)["text_config"], encoders[name].config)
        except WeightsError as error:
            found.append(
                WeightsError(f"{key}: {error.what}", allowed=error.allowed, found=error.found, fix=error.fix)
            )
    return found


def _unlike(key: str, mine: Mapping[str, object], encoder: Mapping[str, object]) -> list[WeightsError]:
    sizes = ("hidden_size", "num_hidden_layers", "vocab_size", "intermediate_size")
    different = [
        f"{s}: {mine[s]}, not {encoder[s]}"
        for s in sizes
        if s in mine and s in encoder and mine[s] != encoder[s]
    ]
    if not different:
        return []
    return [
        WeightsError(
            f"{key} is not the CLIP of that text encoder",
            allowed="the CLIP whose text tower the encoder is",
            found="; ".join(different),
            fix="of Stable Diffusion 1.x it is openai/clip-vit-large-patch14, of 2.x "
            "laion/CLIP-ViT-H-14-laion2B-s32B-b79K; model.companion=null goes without",
        )
    ]


def folder_hash(folder: Path) -> str:
    """Return the hash of all files of a CLIP's folder that decide its embeddings."""
    digest = hashlib.sha256(salt_of(folder).encode())
    for file in weight_files(folder):
        if file not in beside_weights(folder):
            digest.update(f"{file.name}|{file_hash(file)}\n".encode())
    return digest.hexdigest()
