"""Tiny architectures that open_clip knows for the length of a test, weights for them, and a folder as
transformers saves it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import open_clip
import pytest
import torch
from open_clip import factory, pretrained
from open_clip.tokenizer import bytes_to_unicode
from safetensors.torch import save_file
from torch import Tensor

TINY: dict[str, Any] = {
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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """Give scripts/small_models.py, an own cache of the hub; open_clip's names are as before afterwards."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "scripts"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    paths, configs = list(factory._MODEL_CONFIG_PATHS), dict(factory._MODEL_CONFIGS)
    import small_models

    yield small_models
    factory._MODEL_CONFIGS.clear()
    factory._MODEL_CONFIGS.update(configs)
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


def hf_folder(folder: Path, *, own: bool = False, together: bool = False, **sizes: int) -> Path:
    """Write a tiny transformers CLIP: weights, tokenizer (bytes and three merges) and preprocessor.

    `own`: another mean and deviation than CLIP's. `together`: the preprocessor inside processor_config.json,
    as a whole processor is saved by transformers 5; else in preprocessor_config.json, as the published
    folders have it. `sizes` are of both towers.
    """
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizerFast

    letters = list(bytes_to_unicode().values())
    merges = [("p", "h"), ("o", "t"), ("ph", "ot")]
    words = [
        *letters,
        *(x + "</w>" for x in letters),
        *("".join(m) for m in merges),
        "<|startoftext|>",
        "<|endoftext|>",
    ]
    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    tokenizer = CLIPTokenizerFast.from_pretrained(folder)
    size = len(words)
    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 2}
    tower |= sizes
    config = CLIPConfig(
        text_config={
            **tower,
            "vocab_size": size,
            "max_position_embeddings": 32,
            "bos_token_id": size - 2,
            "eos_token_id": size - 1,
            "pad_token_id": size - 1,
        },
        vision_config={**tower, "image_size": 16, "patch_size": 8},
        projection_dim=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        module = CLIPModel(config)
        for parameter in module.parameters():
            parameter.data.add_(0.05 * torch.randn(parameter.shape))
    module.save_pretrained(folder)
    extra: dict[str, Any] = {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.3, 0.4]} if own else {}
    images = CLIPImageProcessor(size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}, **extra)
    tokenizer.save_pretrained(folder)
    (CLIPProcessor(image_processor=images, tokenizer=tokenizer) if together else images).save_pretrained(
        folder
    )
    return folder


def open_clip_folder(folder: Path) -> Path:
    """Write a tiny model as open_clip saves one: weights, and the description of model and pictures."""
    folder.mkdir(exist_ok=True)
    described = {"model_cfg": TINY, "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(described))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        state = open_clip.CLIP(**TINY).state_dict()
    return written(folder / "open_clip_model.safetensors", state).parent


def in_form(path: Path, state: dict[str, Tensor]) -> Path:
    if path.suffix == ".safetensors":
        save_file({n: v.clone() for n, v in state.items()}, path)
    else:
        torch.save(state, path)
    return path
