"""Folders of pipelines without a weight in them: what real models say of themselves, as far as
it is read before anything is loaded.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tiny_sd import END, START, vocabulary, write_tokenizer

from razor_cli.contract.choices import Device
from razor_cli.errors import Problem
from razor_cli.families.diffusion.spec import DiffusionSpec

NO_WEIGHTS = (2).to_bytes(8, "little") + b"{}"  # a safetensors file that holds nothing
WORDS = len(vocabulary()[0])
IDS = {key: vocabulary()[0][token] for key, token in (("bos_token_id", START), ("eos_token_id", END))}


def _text(width: int, layers: int, projection: int) -> dict[str, Any]:
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": width // 64,
        "vocab_size": WORDS,
        "max_position_embeddings": 77,
        "projection_dim": projection,
        **IDS,
    }


UNET: dict[str, Any] = {
    "_class_name": "UNet2DConditionModel",
    "sample_size": 64,
    "in_channels": 4,
    "out_channels": 4,
    "cross_attention_dim": 768,
    "block_out_channels": [320, 640, 1280, 1280],
    "attention_head_dim": 8,
    "layers_per_block": 2,
}
VAE: dict[str, Any] = {
    "_class_name": "AutoencoderKL",
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 512,
    "scaling_factor": 0.18215,
}
TRANSFORMER: dict[str, Any] = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "num_attention_heads": 24,
    "attention_head_dim": 64,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "num_train_timesteps": 1000,
    "skip_prk_steps": True,
    "steps_offset": 1,
}
SD15: dict[str, Any] = {
    "index": {
        "_class_name": "StableDiffusionPipeline",
        "feature_extractor": ["transformers", "CLIPImageProcessor"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    },
    "text_encoder": _text(768, 12, 768),
    "unet": UNET,
    "vae": VAE,
    "scheduler": SCHEDULER,
}
SD3: dict[str, Any] = {
    "index": {
        "_class_name": "StableDiffusion3Pipeline",
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "text_encoder_3": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "tokenizer_3": ["transformers", "T5TokenizerFast"],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    },
    "text_encoder": _text(768, 12, 768),
    "text_encoder_2": _text(1280, 32, 1280),
    "text_encoder_3": {"d_model": 4096, "num_layers": 24},
    "transformer": TRANSFORMER,
    "vae": VAE | {"latent_channels": 16, "scaling_factor": 1.5305, "shift_factor": 0.0609},
    "scheduler": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
}


def folder_of(folder: Path, model: Mapping[str, Any], **changes: Mapping[str, Any] | None) -> Path:
    """Write a folder that says it is `model`; `changes` are settings of its parts, None leaves a part out."""
    said = {
        name: {**value, **(changes.get(name) or {})} for name, value in copy.deepcopy(dict(model)).items()
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(said["index"]))
    for name, listed in said["index"].items():
        if (
            not isinstance(listed, list)
            or listed[1] is None
            or name in ("safety_checker", "feature_extractor")
        ):
            continue
        if name in changes and changes[name] is None:
            continue
        part = folder / name
        part.mkdir(exist_ok=True)
        if name == "tokenizer_3":
            (part / "spiece.model").write_bytes(b"")
        elif name.startswith("tokenizer"):
            write_tokenizer(part)
        elif name == "scheduler":
            (part / "scheduler_config.json").write_text(json.dumps(said[name]))
        else:
            (part / "config.json").write_text(json.dumps(said[name]))
            stem = "model" if name.startswith("text_encoder") else "diffusion_pytorch_model"
            (part / f"{stem}.safetensors").write_bytes(NO_WEIGHTS)
    return folder


def opened(folder: Path, **settings: Any) -> DiffusionSpec:
    """Return the settings of a model for a GPU: whether this machine has the memory is no part of a test."""
    given = {"device": Device.CUDA} | settings
    return DiffusionSpec(name="mine", stand_in=False, weights=str(folder), **given)


def only(found: list[Problem]) -> Problem:
    assert len(found) == 1, found
    assert found[0].allowed is not None or found[0].found is not None
    return found[0]
