"""One way to a loaded pipeline: its nets, its paired CLIPs, and what a run holds beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch

from razor_cli.config.quantization import without_advice
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.files import PipelineFiles
from razor_cli.families.diffusion.kinds import Draws
from razor_cli.families.diffusion.nets import load_pipeline
from razor_cli.families.diffusion.oracle import Against
from razor_cli.families.diffusion.paired import load_paired
from razor_cli.families.diffusion.stored import StoredTensors

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a pipeline is to be held: place, dtype, what its losses draw, and whether gradients keep less."""

    device: str  # auto, cpu, cuda
    dtype: str
    draws: Draws = field(default_factory=Draws)
    checkpointing: bool = False


def load(
    label: str,
    stand_in: bool,
    files: PipelineFiles,
    wanted: Wanted,
    companions: Mapping[str, Path],
    against: Callable[[str], Against],
) -> Diffusion:
    """Return a pipeline as a family; `against` says what it is held against for a target. Raises WeightsError
    where it cannot be had, ConfigError for a device that is not there.
    """
    without_advice()
    place = choose_device(wanted.device)
    pipeline, places = load_pipeline(files, DTYPES[wanted.dtype])
    denoiser = Denoiser(pipeline, files.kind, place)
    if wanted.checkpointing:
        denoiser.core.enable_gradient_checkpointing()
    family = Diffusion(
        label=label,
        stand_in=stand_in,
        denoiser=denoiser,
        stored=StoredTensors(places),
        digest=files.digest(),
        draws=wanted.draws,
        against=against,
    )
    family.paired = {name: load_paired(family, name, folder) for name, folder in companions.items()}
    return family


def choose_device(device: str) -> str:
    """Return cpu or cuda for auto, cpu or cuda."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "model.device=cuda: no CUDA device is there", allowed="auto, cpu", fix="model.device=auto"
        )
    return "cuda" if device != "cpu" and torch.cuda.is_available() else "cpu"


def free_on(device: str) -> int:
    """Return the bytes that a GPU has free."""
    return int(torch.cuda.mem_get_info(device)[0])
