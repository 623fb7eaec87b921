"""Writing `sd_tiny` and its paired towers as folders that every version of transformers reads alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from standin_sd import Parts, make_scheduler
from standin_text import MEAN, SIDE, STD, write_tokenizer
from torch import Tensor, nn

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.36.0",
    "feature_extractor": [None, None],
    "image_encoder": [None, None],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def round_weights(*modules: nn.Module) -> None:
    """Round weights to the 16 bits that are shipped, so that what is measured is what is shipped."""
    with torch.no_grad():
        for module in modules:
            for p in module.parameters():
                p.copy_(p.half().float())


def write_json(file: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in the order of its keys."""
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_weights(file: Path, weights: dict[str, Tensor]) -> None:
    """Write weights in 16 bits."""
    halves = {n: w.detach().cpu().half().contiguous() for n, w in weights.items()}
    save_file(halves, file, metadata={"format": "pt"})


def write_config(folder: Path, config: Any, architecture: str, model_type: str) -> None:
    """Write the configuration of a model of transformers; its weights are read in 32 bits."""
    content = config.to_dict()
    for name in ("dtype", "transformers_version", "_name_or_path"):
        content.pop(name, None)
    content |= {"architectures": [architecture], "model_type": model_type, "torch_dtype": "float32"}
    write_json(folder / "config.json", content)


def write_pipeline(parts: Parts, out: Path) -> None:
    """Write the folder of the pipeline: the layout of Stable Diffusion 1.5 without a safety checker."""
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "model_index.json", INDEX)
    make_scheduler().save_pretrained(out / "scheduler")
    write_tokenizer(out / "tokenizer")
    write_diffusers(parts.vae, out / "vae")
    write_diffusers(parts.unet, out / "unet")
    text = out / "text_encoder"
    text.mkdir(exist_ok=True)
    write_config(text, parts.clip.config.text_config, "CLIPTextModel", "clip_text_model")
    weights = parts.clip.text_model.state_dict()
    write_weights(text / "model.safetensors", {f"text_model.{n}": w for n, w in weights.items()})


def write_diffusers(model: AutoencoderKL | UNet2DConditionModel, folder: Path) -> None:
    """Write a model of diffusers."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_config(folder)
    settings = json.loads((folder / "config.json").read_text())
    write_json(folder / "config.json", {n: v for n, v in settings.items() if n != "_name_or_path"})
    plain = model.to(memory_format=torch.contiguous_format)
    write_weights(folder / "diffusion_pytorch_model.safetensors", dict(plain.state_dict()))


def write_towers(parts: Parts, out: Path) -> None:
    """Write the paired towers as a plain CLIP folder; its text tower is the pipeline's text encoder."""
    write_tokenizer(out)
    write_config(out, parts.clip.config, "CLIPModel", "clip")
    write_weights(out / "model.safetensors", dict(parts.clip.state_dict()))
    size = {"height": SIDE, "width": SIDE}
    write_json(
        out / "preprocessor_config.json",
        {
            "crop_size": size,
            "do_center_crop": True,
            "do_convert_rgb": True,
            "do_normalize": True,
            "do_rescale": True,
            "do_resize": True,
            "image_mean": [MEAN] * 3,
            "image_processor_type": "CLIPImageProcessor",
            "image_std": [STD] * 3,
            "resample": 3,
            "rescale_factor": 1 / 255,
            "size": {"shortest_edge": SIDE},
        },
    )
