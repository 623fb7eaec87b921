"""Random tiny pipelines of Stable Diffusion 1.5 and 3 in the layout of diffusers, and a CLIP for each text
encoder.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

WORDS = (
    "a an in of image style photo painting picture person drawing noto mono cubism monet crayon cats dogs "
    "bears frogs trees towers taylor swift elon musk zed"
).split()
START, END = "<|startoftext|>", "<|endoftext|>"
LENGTH, SIDE, FACTOR = 16, 64, 8  # tokens of a prompt, pixels of a picture, pixels of a latent
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _letters() -> list[str]:
    """Return what CLIP writes for each byte, in its order."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    return [*map(chr, plain), *(chr(256 + i) for i in range(256 - len(plain)))]


def vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the ids of bytes, of the words and what they begin with, and the merges that lead there."""
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        letters = [*word[:-1], word[-1] + "</w>"]
        for i in range(1, len(letters)):
            pair = ("".join(letters[:i]), letters[i])
            merges += [pair] if pair not in merges else []
    names = [*_letters(), *(c + "</w>" for c in _letters()), *("".join(m) for m in merges), START, END]
    return {name: i for i, name in enumerate(dict.fromkeys(names))}, merges


def write_tokenizer(folder: Path) -> dict[str, int]:
    """Write the files of a CLIPTokenizer that every version of transformers reads; return its ids."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, merges = vocabulary()
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "do_lower_case": True,
        **special,
    }
    _json(folder / "vocab.json", ids)
    lines = ["#version: 0.2", *(" ".join(m) for m in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _json(folder / "tokenizer_config.json", config)
    _json(folder / "special_tokens_map.json", special)
    return ids


def tiny_sd15(folder: Path, *, prediction: str = "epsilon") -> Path:
    """Write a tiny pipeline of the class of Stable Diffusion 1.5; return its folder."""
    from diffusers import DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    ids = write_tokenizer(folder / "tokenizer")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        encoder = _lively(CLIPTextModel(CLIPTextConfig(**_text(ids, width=32, heads=4))))
        unet = UNet2DConditionModel(
            sample_size=SIDE // FACTOR,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        )
        pipeline = StableDiffusionPipeline(
            vae=_vae(scaling_factor=0.18215),
            text_encoder=encoder,
            tokenizer=_tokenizer(folder / "tokenizer"),
            unet=unet,
            scheduler=DDIMScheduler(
                **SCHEDULE,
                clip_sample=False,
                set_alpha_to_one=False,
                steps_offset=1,
                prediction_type=prediction,
            ),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    return _saved(pipeline, folder, ["text_encoder"], ["tokenizer"])


def tiny_sd3(folder: Path) -> Path:
    """Write a tiny pipeline of the class of Stable Diffusion 3, its third encoder left out; return its
    folder.
    """
    from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    ids = write_tokenizer(folder / "tokenizer")
    write_tokenizer(folder / "tokenizer_2")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        settings = (
            _text(ids, width=32, heads=4, hidden_act="quick_gelu"),
            _text(ids, width=24, heads=3, layers=4, hidden_act="gelu"),
        )
        first, second = (_lively(CLIPTextModelWithProjection(CLIPTextConfig(**s))) for s in settings)
        transformer = SD3Transformer2DModel(
            sample_size=SIDE // FACTOR,
            patch_size=2,
            in_channels=4,
            num_layers=3,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=2 * PROJECTION,
            out_channels=4,
            pos_embed_max_size=SIDE // FACTOR,
        )
        pipeline = StableDiffusion3Pipeline(
            vae=_vae(
                scaling_factor=1.5305, shift_factor=0.0609, use_quant_conv=False, use_post_quant_conv=False
            ),
            text_encoder=first,
            tokenizer=_tokenizer(folder / "tokenizer"),
            text_encoder_2=second,
            tokenizer_2=_tokenizer(folder / "tokenizer_2"),
            text_encoder_3=None,
            tokenizer_3=None,
            transformer=transformer,
            scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        )
    return _saved(pipeline, folder, ["text_encoder", "text_encoder_2"], ["tokenizer", "tokenizer_2"])


def paired_clip(pipeline: Path, folder: Path, encoder: str = "text_encoder") -> Path:
    """Write the CLIP whose text tower is an encoder of a tiny pipeline, with an image tower at random; return
    its folder.
    """
    from safetensors.torch import load_file
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

    text = load_file(pipeline / encoder / "model.safetensors")
    settings = CLIPTextConfig.from_pretrained(pipeline / encoder).to_dict()
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 8,
        "projection_dim": PROJECTION,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        config = CLIPConfig(text_config=settings, vision_config=vision, projection_dim=PROJECTION)
        model = CLIPModel(config)
    folder.mkdir(parents=True, exist_ok=True)
    held = {n: v.clone() for n, v in model.state_dict().items() if not n.endswith("position_ids")}
    assert text.keys() <= held.keys()
    save_file(held | text, folder / "model.safetensors", metadata={"format": "pt"})
    model.config.save_pretrained(folder)
    write_tokenizer(folder)
    _json(folder / "preprocessor_config.json", PROCESSOR)
    return folder


PROJECTION = 16
PROCESSOR = {
    "image_processor_type": "CLIPImageProcessor",
    "do_resize": True,
    "size": {"shortest_edge": 32},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}


def _text(ids: dict[str, int], *, width: int, heads: int, layers: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "vocab_size": len(ids),
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "max_position_embeddings": LENGTH,
        "projection_dim": PROJECTION,
        "bos_token_id": ids[START],
        "eos_token_id": ids[END],
        "pad_token_id": ids[END],
        **more,
    }


def _lively(encoder: Any) -> Any:
    """Make the matrices of the blocks larger, so that words make a difference as in a trained encoder."""
    with torch.no_grad():
        for name, value in encoder.named_parameters():
            if value.ndim == 2 and ".layers." in name:
                value.mul_(4)
            elif "token_embedding" in name:
                value.mul_(10)
    return encoder


def _vae(**more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=SIDE,
        **more,
    )


def _tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder)


def _saved(pipeline: Any, folder: Path, encoders: list[str], tokenizers: list[str]) -> Path:
    """Save a pipeline, its text encoders in the spelling that every version of transformers reads."""
    pipeline.save_pretrained(folder)
    for name in tokenizers:  # as the library of today saves it, one of yesterday does not read it
        shutil.rmtree(folder / name)
        write_tokenizer(folder / name)
    for name in encoders:
        state = getattr(pipeline, name).state_dict()
        old = {n if n.startswith("text_") else f"text_model.{n}": v.contiguous() for n, v in state.items()}
        save_file(
            {n: v for n, v in old.items() if not n.endswith("position_ids")},
            folder / name / "model.safetensors",
            metadata={"format": "pt"},
        )
    return folder


def _json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
