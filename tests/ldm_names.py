"""A tiny pipeline of diffusers as one file of the LDM layout: the names of Stable Diffusion at first."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

TEXT, UNET, VAE = "cond_stage_model.transformer.", "model.diffusion_model.", "first_stage_model."
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
PART = r"(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.*)"


def one_file(folder: Path, path: Path) -> Path:
    """Write a tiny SD1.5 as one file, with tables and ids that such files hold beside the nets."""
    text = load_file(folder / "text_encoder/model.safetensors")
    unet = load_file(folder / "unet/diffusion_pytorch_model.safetensors")
    vae = load_file(folder / "vae/diffusion_pytorch_model.safetensors")
    beside = {
        "alphas_cumprod": torch.ones(4),
        f"{TEXT}text_model.embeddings.position_ids": torch.arange(4)[None],
    }
    named = {f"{TEXT}{n}": v for n, v in text.items()}
    named |= {f"{UNET}{_unet(n, set(unet))}": v for n, v in unet.items()}
    named |= {f"{VAE}{_vae(n, set(vae))}": _pixel(n, v) for n, v in vae.items()}
    save_file(named | beside, path)
    return path


def _inside_resnet(rest: str) -> str:
    head, _, tail = rest.partition(".")
    return f"{RESNET[head]}.{tail}"


def _unet(name: str, every: set[str]) -> str:
    stem, _, last = name.rpartition(".")
    if stem in ENDS:
        return f"{ENDS[stem]}.{last}"
    if found := re.fullmatch(rf"mid_block\.{PART}", name):
        kind, number, rest = found.groups()
        own = rest if kind == "attentions" else _inside_resnet(rest)
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(number)}.{own}"
    way, level, kind, number, rest = re.fullmatch(rf"(down|up)_blocks\.(\d+)\.{PART}", name).groups()  # type: ignore[union-attr]
    layers = sum(bool(re.fullmatch(r"down_blocks\.0\.resnets\.\d+\.norm1\.bias", n)) for n in every)
    i, j, step = int(level), int(number), layers + 1
    if way == "down":
        if kind == "downsamplers":
            return f"input_blocks.{step * (i + 1)}.0.op.{rest.removeprefix('conv.')}"
        place = f"input_blocks.{step * i + j + 1}"
    else:
        attends = f"up_blocks.{i}.attentions.0.norm.weight" in every
        if kind == "upsamplers":
            return f"output_blocks.{step * i + layers}.{2 if attends else 1}.{rest}"
        place = f"output_blocks.{step * i + j}"
    return f"{place}.1.{rest}" if kind == "attentions" else f"{place}.0.{_inside_resnet(rest)}"


def _vae(name: str, every: set[str]) -> str:
    levels = len({n.split(".")[2] for n in every if n.startswith("encoder.down_blocks")})
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    if ".mid_block.attentions.0." in name:
        side, _, rest = name.partition(".mid_block.attentions.0.")
        stem, _, last = rest.rpartition(".")
        return f"{side}.mid.attn_1.{VAE_ATTENTION[stem]}.{last}"
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)


def _pixel(name: str, value: Tensor) -> Tensor:
    """Return a matrix of the VAE's attention as the convolution of one pixel that it was."""
    is_matrix = ".attentions.0." in name and value.ndim == 2
    return value[:, :, None, None].contiguous() if is_matrix else value
