"""Tiny architectures that open_clip knows for the length of a test, and weights for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from safetensors.torch import save_file
from torch import Tensor

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 16, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 4, "layers": 2},
}


@pytest.fixture
def architectures(tmp_path: Path) -> Iterator[None]:
    """Register the architectures tiny, tiny-quickgelu and tiny-custom-text with open_clip, and take them off
    again.
    """
    folder = tmp_path / "configs"
    folder.mkdir()
    variants: dict[str, dict[str, Any]] = {
        "tiny": {},
        "tiny-quickgelu": {"quick_gelu": True},
        "tiny-custom-text": {"custom_text": True},
    }
    for name, extra in variants.items():
        (folder / f"{name}.json").write_text(json.dumps(TINY | extra))
    paths, configs, tags = (
        list(factory._MODEL_CONFIG_PATHS),
        dict(factory._MODEL_CONFIGS),
        dict(pretrained._PRETRAINED),
    )
    open_clip.add_model_config(folder)
    yield
    for registry, saved in ((factory._MODEL_CONFIGS, configs), (pretrained._PRETRAINED, tags)):
        registry.clear()
        registry.update(saved)
    factory._MODEL_CONFIG_PATHS[:] = paths


def weights_of(architecture: str, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        module = open_clip.create_model(architecture, pretrained=None)
        for parameter in module.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
    return {n: v.to(dtype).contiguous() for n, v in module.state_dict().items()}


def written(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(
            {"state_dict": {f"module.{n}": v for n, v in state.items()}} if path.stem == "wrapped" else state,
            path,
        )
    return path
