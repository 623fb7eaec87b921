"""A tiny Stable Diffusion 1.x as the first release laid it out in one file, its tensors written by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

State = dict[str, Tensor]
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
WORDS = 49408
WIDTHS, WIDTH, LAYERS = (32, 64), 64, 2  # of UNet and VAE by level, of the text encoder, and its layers


def _res(prefix: str, i: int, o: int, emb: int) -> State:
    state = {
        "in_layers.0.weight": torch.ones(i),
        "in_layers.2.weight": torch.randn(o, i, 3, 3),
        "emb_layers.1.weight": torch.randn(o, emb),
        "out_layers.0.weight": torch.ones(o),
        "out_layers.3.weight": torch.randn(o, o, 3, 3),
    }
    state |= {n.replace("weight", "bias"): torch.zeros(v.shape[0]) for n, v in state.items()}
    if i != o:
        state |= {"skip_connection.weight": torch.randn(o, i, 1, 1), "skip_connection.bias": torch.zeros(o)}
    return {f"{prefix}.{n}": v for n, v in state.items()}


def _attention(prefix: str, c: int, context: int) -> State:
    block = "transformer_blocks.0."
    state = {"norm.weight": torch.ones(c), "norm.bias": torch.zeros(c)}
    for name in ("proj_in", "proj_out"):
        state |= {f"{name}.weight": torch.randn(c, c, 1, 1), f"{name}.bias": torch.zeros(c)}
    for name, width in (("attn1", c), ("attn2", context)):
        state |= {f"{block}{name}.to_q.weight": torch.randn(c, c)}
        state |= {f"{block}{name}.to_{x}.weight": torch.randn(c, width) for x in "kv"}
        state |= {
            f"{block}{name}.to_out.0.weight": torch.randn(c, c),
            f"{block}{name}.to_out.0.bias": torch.zeros(c),
        }
    for i in (1, 2, 3):
        state |= {f"{block}norm{i}.weight": torch.ones(c), f"{block}norm{i}.bias": torch.zeros(c)}
    state |= {
        f"{block}ff.net.0.proj.weight": torch.randn(8 * c, c),
        f"{block}ff.net.0.proj.bias": torch.zeros(8 * c),
    }
    state |= {f"{block}ff.net.2.weight": torch.randn(c, 4 * c), f"{block}ff.net.2.bias": torch.zeros(c)}
    return {f"{prefix}.{n}": v for n, v in state.items()}


def _linear(name: str, o: int, *i: int) -> State:
    return {f"{name}.weight": torch.randn(o, *i), f"{name}.bias": torch.zeros(o)}


def ldm_unet(channels: int = 4) -> State:
    (a, b), context, emb = WIDTHS, WIDTH, 4 * WIDTHS[0]
    state = _linear("time_embed.0", emb, a) | _linear("time_embed.2", emb, emb)
    state |= _linear("input_blocks.0.0", a, channels, 3, 3)
    state |= _res("input_blocks.1.0", a, a, emb) | _attention("input_blocks.1.1", a, context)
    state |= _linear("input_blocks.2.0.op", a, a, 3, 3) | _res("input_blocks.3.0", a, b, emb)
    state |= _res("middle_block.0", b, b, emb) | _attention("middle_block.1", b, context)
    state |= _res("middle_block.2", b, b, emb)
    state |= _res("output_blocks.0.0", 2 * b, b, emb) | _res("output_blocks.1.0", b + a, b, emb)
    state |= _linear("output_blocks.1.1.conv", b, b, 3, 3)
    state |= _res("output_blocks.2.0", b + a, a, emb) | _attention("output_blocks.2.1", a, context)
    state |= _res("output_blocks.3.0", 2 * a, a, emb) | _attention("output_blocks.3.1", a, context)
    return (
        state | {"out.0.weight": torch.ones(a), "out.0.bias": torch.zeros(a)} | _linear("out.2", 4, a, 3, 3)
    )


def _vae_res(prefix: str, i: int, o: int) -> State:
    state = {f"norm{n}.{w}": torch.ones(c) for n, c in ((1, i), (2, o)) for w in ("weight", "bias")}
    state |= _linear("conv1", o, i, 3, 3) | _linear("conv2", o, o, 3, 3)
    state |= _linear("nin_shortcut", o, i, 1, 1) if i != o else {}
    return {f"{prefix}.{n}": v for n, v in state.items()}


def _vae_mid(c: int) -> State:
    state = _vae_res("mid.block_1", c, c) | _vae_res("mid.block_2", c, c)
    state |= {"mid.attn_1.norm.weight": torch.ones(c), "mid.attn_1.norm.bias": torch.zeros(c)}
    for name in ("q", "k", "v", "proj_out"):
        state |= _linear(f"mid.attn_1.{name}", c, c, 1, 1)
    return state | {"norm_out.weight": torch.ones(c), "norm_out.bias": torch.zeros(c)}


def ldm_vae() -> State:
    a, b = WIDTHS
    encoder = _linear("conv_in", a, 3, 3, 3) | _vae_res("down.0.block.0", a, a)
    encoder |= _linear("down.0.downsample.conv", a, a, 3, 3) | _vae_res("down.1.block.0", a, b)
    encoder |= _vae_mid(b) | _linear("conv_out", 8, b, 3, 3)
    decoder = _linear("conv_in", b, 4, 3, 3) | _vae_mid(b)
    decoder |= _vae_res("up.1.block.0", b, b) | _vae_res("up.1.block.1", b, b)
    decoder |= _linear("up.1.upsample.conv", b, b, 3, 3)
    decoder |= (
        _vae_res("up.0.block.0", b, a) | _vae_res("up.0.block.1", a, a) | _linear("conv_out", 3, a, 3, 3)
    )
    decoder |= {"norm_out.weight": torch.ones(a), "norm_out.bias": torch.zeros(a)}
    state = {f"encoder.{n}": v for n, v in encoder.items()} | {f"decoder.{n}": v for n, v in decoder.items()}
    return state | _linear("quant_conv", 8, 8, 1, 1) | _linear("post_quant_conv", 4, 4, 1, 1)


def ldm_text() -> State:
    w = WIDTH
    state = {
        "embeddings.token_embedding.weight": torch.randn(WORDS, w),
        "embeddings.position_embedding.weight": torch.randn(77, w),
        "embeddings.position_ids": torch.arange(77)[None],
        "final_layer_norm.weight": torch.ones(w),
        "final_layer_norm.bias": torch.zeros(w),
    }
    for i in range(LAYERS):
        layer = f"encoder.layers.{i}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state |= _linear(f"{layer}self_attn.{name}", w, w)
        state |= _linear(f"{layer}mlp.fc1", 4 * w, w) | _linear(f"{layer}mlp.fc2", w, 4 * w)
        for name in ("layer_norm1", "layer_norm2"):
            state |= {f"{layer}{name}.weight": torch.ones(w), f"{layer}{name}.bias": torch.zeros(w)}
    return {f"text_model.{n}": v for n, v in state.items()}


@pytest.fixture(scope="module")
def state() -> State:
    """Return a tiny model in the layout of LDM, with what such files hold beside the nets."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        nets = {UNET: ldm_unet(), VAE: ldm_vae(), TEXT: ldm_text()}
        found = {f"{home}{n}": v for home, net in nets.items() for n, v in net.items()}
    beside = {
        "betas": torch.zeros(3),
        "model_ema.decay": torch.zeros(1),
        "first_stage_model.loss.logvar": torch.zeros(1),
    }
    small = {n: (0.05 * v if v.ndim > 1 and v.is_floating_point() else v) for n, v in found.items()}
    return {n: v.half() if v.is_floating_point() else v for n, v in (small | beside).items()}
