"""From a LLaVA's folder and a CLIP's to a family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from razor_cli.errors import WeightsError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import WITHOUT_TOWER
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.load import choose_device
from razor_cli.families.diffusion.companion_files import folder_hash
from razor_cli.families.llava.components import editable_of
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.files import LlavaFiles
from razor_cli.families.llava.held import InMemory
from razor_cli.families.llava.kinds import Candidates, Language, Pool, Tiles
from razor_cli.families.llava.load import DTYPES, OnDisk, open_files
from razor_cli.families.llava.tower import TOWER_OF_CLIP, SharedTower
from razor_cli.weights.files import read_file


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a model is to be held, and what may be edited of it."""

    device: str  # auto, cpu, cuda
    dtype: str
    language: Language = Language.FULL
    candidates: Candidates = Candidates.VISION_EFFECTIVE
    pool: Pool = Pool.CLS
    tiles: Tiles = Tiles.BASE
    min_alignment: float = 0.5


def load(label: str, stand_in: bool, files: LlavaFiles, wanted: Wanted, companion: Path) -> Llava:
    """Return a model as a family; its language model is not read yet. Raises WeightsError where it cannot be
    had, ConfigError for a device that is not there.
    """
    place = choose_device(wanted.device)
    disk = open_files(files, DTYPES[wanted.dtype], place, wanted.language)
    found = paired_with(label, stand_in, disk, wanted, companion)
    found.digest = files.digest()
    return found


def paired_with(
    label: str, stand_in: bool, disk: OnDisk | InMemory, wanted: Wanted, companion: Path
) -> Llava:
    """Return a model with the CLIP of a folder as a family that has no hash yet."""
    clip = load_companion(label, companion, disk.module.model.vision_tower)
    clip.module.to(disk.device).requires_grad_(False)
    clip.device = disk.device
    first = next(n for n, _ in disk.module.named_parameters() if ".layers.0." in n)
    prefix = first[: first.index("layers.0.") + len("layers.")]
    editable = editable_of(disk.module.config, wanted.candidates, prefix)
    shared = SharedTower(
        label=label,
        llava=disk.module,
        processor=disk.processor,
        companion=clip,
        editable=editable,
        pool=wanted.pool,
        tiles=wanted.tiles,
    )
    return Llava(
        label=label,
        stand_in=stand_in,
        disk=disk,
        shared=shared,
        editable=editable,
        digest="",
        beside=folder_hash(companion),
        min_alignment=wanted.min_alignment,
    )


def free_on(device: str) -> int:
    """Return the bytes that a GPU has free."""
    return int(torch.cuda.mem_get_info(device)[0])


def load_companion(label: str, folder: Path, tower: Any) -> Clip:
    """Return the CLIP of a folder; one that is stored without its image tower gets that of the model, given
    as `tower`. Raises WeightsError for one that cannot be had.
    """
    if not (folder / WITHOUT_TOWER).is_file():
        return load_hugging_face(label, str(folder))
    state = read_file(folder / WITHOUT_TOWER)
    if any(name.startswith(TOWER_OF_CLIP) for name in state):
        raise WeightsError(
            f"model.companion: {folder / WITHOUT_TOWER} holds an image tower all the same",
            allowed=f"a CLIP's tensors but those of {TOWER_OF_CLIP}*",
            fix="save the whole CLIP as model.safetensors",
        )
    mine = {
        TOWER_OF_CLIP + name.removeprefix(TOWER_OF_CLIP): value.detach()
        for name, value in tower.named_parameters()
    }
    return load_hugging_face(label, str(folder), {**state, **mine})
