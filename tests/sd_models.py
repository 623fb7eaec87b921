"""Tiny pipelines on disk that a test may damage, and how they are opened."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file
from tiny_sd import paired_clip, tiny_sd3, tiny_sd15
from torch import Tensor

from razor_cli.contract.choices import Device
from razor_cli.families.diffusion.spec import DiffusionSpec

NET = "diffusion_pytorch_model.safetensors"
State = dict[str, Tensor]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny pipeline of each kind, and the CLIP of the first beside it."""
    root = tmp_path_factory.mktemp("models")
    paired_clip(tiny_sd15(root / "sd15"), root / "sd15_clip")
    tiny_sd3(root / "sd3")
    return root


@pytest.fixture
def sd15(models: Path, tmp_path: Path) -> Path:
    """Return a copy that may be damaged."""
    return Path(shutil.copytree(models / "sd15", tmp_path / "sd15"))


def spec_of(folder: Path, **settings: Any) -> DiffusionSpec:
    given = {"device": Device.CPU} | settings
    return DiffusionSpec(name="mine", stand_in=False, weights=str(folder), **given)


def rewritten(file: Path, change: Callable[[State], State]) -> None:
    """Write a weights file again, changed."""
    state = change({n: v.clone() for n, v in load_file(file).items()})
    save_file({n: v.contiguous() for n, v in state.items()}, file)
