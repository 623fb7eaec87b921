"""The parts of `sd3_tiny`: tokenizers, text towers with their paired picture towers, transformer, folders.

The pipeline's folders are laid out as Stable Diffusion 3 has them, without a third encoder. A paired CLIP is
a plain folder of transformers whose text tower is the pipeline's encoder, bit for bit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from diffusers import FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel
from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode
from safetensors.torch import save_file
from standin_clip import _merges_of
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTokenizer, CLIPVisionConfig

LENGTH = 16  # text positions
LATENTS, SIDE = 8, 64  # latent channels and places a side; pixels a side
WIDTHS, LAYERS, PROJECTION = (64, 96), (4, 4), 64  # of the two text towers
DIM, HEADS, BLOCKS = 128, 4, 4
BEGIN, END, UNKNOWN = "<|startoftext|>", "<|endoftext|>", "<|endoftext|>"
PADDING = (END, "!")  # as the two tokenizers of SD3 have it
SHIFT = 3.0
NAMES = ("text_encoder", "text_encoder_2")


def vocabulary(prompts: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Return the ids and merges that prompts need, cut from open_clip's; other words fall back to bytes."""
    full = SimpleTokenizer()
    used: set[tuple[str, str]] = set()
    for text in prompts:
        for token in full.encode(text):
            used |= _merges_of(full.decoder[token], full.bpe_ranks)
    merges = sorted(used, key=full.bpe_ranks.__getitem__)
    letters = list(bytes_to_unicode().values())
    words = [*letters, *(c + "</w>" for c in letters), *(a + b for a, b in merges), BEGIN, END]
    return {word: number for number, word in enumerate(words)}, merges


def write_tokenizer(folder: Path, prompts: list[str], padding: str) -> CLIPTokenizer:
    """Write the files of a tokenizer, old ones and new, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    ids, merges = vocabulary(prompts)
    (folder / "vocab.json").write_text(json.dumps(ids, ensure_ascii=False))
    lines = ["#version: cut from open_clip's bpe_simple_vocab_16e6", *(" ".join(m) for m in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": LENGTH,
        "bos_token": BEGIN,
        "eos_token": END,
        "unk_token": UNKNOWN,
        "pad_token": padding,
        "do_lower_case": True,
        "add_prefix_space": False,
        "errors": "replace",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    special = {name: settings[name] for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
    (folder / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
    return CLIPTokenizer.from_pretrained(folder)


def paired_clip(which: int, tokenizer: CLIPTokenizer) -> CLIPModel:
    """Return a text tower and a picture tower of the same space, with random weights."""
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTHS[which],
        intermediate_size=2 * WIDTHS[which],
        num_hidden_layers=LAYERS[which],
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        hidden_act=("quick_gelu", "gelu")[which],
        projection_dim=PROJECTION,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    vision = CLIPVisionConfig(
        hidden_size=96,
        intermediate_size=192,
        num_hidden_layers=3,
        num_attention_heads=4,
        image_size=SIDE,
        patch_size=16,
        hidden_act=("quick_gelu", "gelu")[which],
        projection_dim=PROJECTION,
    )
    return CLIPModel(
        CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=PROJECTION)
    )


def transformer() -> SD3Transformer2DModel:
    """Return the transformer with random weights; its last layer and its modulations begin at zero."""
    model = SD3Transformer2DModel(
        sample_size=LATENTS,
        patch_size=1,
        in_channels=LATENTS,
        out_channels=LATENTS,
        num_layers=BLOCKS,
        attention_head_dim=DIM // HEADS,
        num_attention_heads=HEADS,
        joint_attention_dim=sum(WIDTHS),
        caption_projection_dim=DIM,
        pooled_projection_dim=2 * PROJECTION,
        pos_embed_max_size=LATENTS,
    )
    still = [model.proj_out, model.norm_out.linear]
    for block in model.transformer_blocks:
        still += [block.norm1.linear, block.norm1_context.linear]
    for layer in still:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


def half(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a copy of a state in fp16."""
    return {name: value.detach().half().contiguous().clone() for name, value in state.items()}


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write a part's configuration as of fp16 weights, without what says where it was loaded from."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = {k: v for k, v in config.items() if k not in ("_name_or_path", "dtype", "transformers_version")}
    if "_diffusers_version" not in kept:
        kept["torch_dtype"] = "float16"  # the name that old and new versions read
    (folder / "config.json").write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")


def write_text_encoder(folder: Path, clip: CLIPModel) -> None:
    """Write the text tower of a paired CLIP as `CLIPTextModelWithProjection`."""
    config = clip.config.text_config.to_dict()
    config |= {"architectures": ["CLIPTextModelWithProjection"], "model_type": "clip_text_model"}
    write_config(folder, config)
    kept = {n: v for n, v in clip.state_dict().items() if n.startswith(("text_model.", "text_projection."))}
    save_file(half(kept), folder / "model.safetensors", {"format": "pt"})


def write_paired(folder: Path, clip: CLIPModel) -> None:
    """Write a whole paired CLIP."""
    write_config(folder, clip.config.to_dict() | {"architectures": ["CLIPModel"]})
    save_file(half(clip.state_dict()), folder / "model.safetensors", {"format": "pt"})
    settings = {
        "image_processor_type": "CLIPImageProcessor",
        "do_resize": True,
        "size": {"shortest_edge": SIDE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "do_convert_rgb": True,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings, indent=2) + "\n")


def write_autoencoder(folder: Path, source: Path) -> None:
    """Write the configuration of the stand-ins' autoencoder with the shift that this pipeline subtracts, and
    a link to the weights that `sd_tiny` beside it holds.
    """
    config = dict(json.loads((source / "config.json").read_text()))
    config["shift_factor"] = config.get("shift_factor") or 0.0
    write_config(folder, config)
    link = folder / "diffusion_pytorch_model.safetensors"
    link.unlink(missing_ok=True)
    link.symlink_to(Path("../../sd_tiny/vae") / link.name)


def write_transformer(folder: Path, model: SD3Transformer2DModel) -> None:
    """Write the transformer in fp16."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_config(folder)
    write_config(folder, json.loads((folder / "config.json").read_text()))
    save_file(half(model.state_dict()), folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})


def write_index(folder: Path) -> None:
    """Write the scheduler and the list of the pipeline's parts."""
    FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT).save_pretrained(
        folder / "scheduler"
    )
    text, clip = "CLIPTextModelWithProjection", "CLIPTokenizer"
    parts = {
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", text],
        "text_encoder_2": ["transformers", text],
        "text_encoder_3": [None, None],
        "tokenizer": ["transformers", clip],
        "tokenizer_2": ["transformers", clip],
        "tokenizer_3": [None, None],
        "transformer": ["diffusers", "SD3Transformer2DModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    index = {"_class_name": "StableDiffusion3Pipeline", "_diffusers_version": "0.42.1", **parts}
    index |= {"feature_extractor": [None, None], "image_encoder": [None, None]}
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")
