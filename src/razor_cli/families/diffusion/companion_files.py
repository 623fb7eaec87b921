"""The paired CLIPs of a pipeline's text encoders, found and judged by their files. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from razor_cli.errors import WeightsError, nearest
from razor_cli.families.clip.files import beside_weights, salt_of, weight_files
from razor_cli.families.clip.hf_files import check_folder, read_config
from razor_cli.families.diffusion.files import PipelineFiles
from razor_cli.runs.remembered import file_hash

FIRST = "text_encoder"
# What a paired CLIP that lies beside a pipeline's folder is called: like the folder, and this.
BESIDE = {FIRST: "_clip", "text_encoder_2": "_clip_2"}


def companions_of(place: Path, given: str | Mapping[str, str] | None) -> dict[str, Path]:
    """Return the folder of each encoder's paired CLIP: those given, else those that lie beside the folder of
    the pipeline at `place` and are called like it.
    """
    if isinstance(given, str):
        return {FIRST: Path(given).expanduser()}
    if given:
        return {name: Path(folder).expanduser() for name, folder in given.items()}
    beside = {name: place.with_name(place.name + end) for name, end in BESIDE.items() if place.name}
    return {name: folder for name, folder in beside.items() if folder.is_dir()}


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
            fix="of Stable Diffusion 1.x it is CLIP ViT-L/14 of OpenAI; model.companion=null goes without",
        )
    ]


def folder_hash(folder: Path) -> str:
    """Return the hash of all files of a CLIP's folder that decide its embeddings."""
    digest = hashlib.sha256(salt_of(folder).encode())
    for file in weight_files(folder):
        if file not in beside_weights(folder):
            digest.update(f"{file.name}|{file_hash(file)}\n".encode())
    return digest.hexdigest()
