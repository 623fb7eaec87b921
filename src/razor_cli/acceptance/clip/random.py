"""Weights that were never trained, in the layout of real ones: an acceptance must tell them from a
checkpoint.
"""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import torch
from safetensors.torch import save_file

from razor_cli.errors import ConfigError
from razor_cli.families.clip.architectures import configuration_of
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.open_clip_build import build
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.families.clip.standins import CONFIG, DEFAULT, stand_in_folder


def write_random(model: ClipSpec, path: Path, seed: int = 0) -> Path:
    """Write seeded initial weights of an architecture as safetensors, fp32, full size.

    Raises ConfigError for a Hugging Face folder, which has no architecture without its files, and
    WeightsError for an unknown architecture.
    """
    if model.library is Library.HF:
        raise ConfigError(
            "--random-weights needs an architecture by name", allowed="model of open_clip, or the stand-in"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = _module(model)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)
    return path


def _module(model: ClipSpec) -> torch.nn.Module:
    if model.library is Library.STAND_IN:
        name = model.architecture or DEFAULT
        if (root := stand_in_folder(name)).joinpath(CONFIG).is_file():
            from razor_cli.families.clip.siglip import empty_siglip

            return empty_siglip(root)
        config = json.loads((stand_in_folder(name) / f"{name}.json").read_text(encoding="utf-8"))
        made: torch.nn.Module = open_clip.model.CLIP(**config)
        return made
    module: torch.nn.Module = build(configuration_of(model.full_architecture or ""))
    return module
