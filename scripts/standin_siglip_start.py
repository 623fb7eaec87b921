"""What `siglip_tiny` begins from: the blocks of `clip_tiny`, laid into a SigLIP of transformers."""

from __future__ import annotations

import math
from typing import Any

import torch
from standin_siglip_words import CONTEXT
from torch import Tensor
from transformers import SiglipConfig, SiglipModel

from razor_cli.families.clip.stand_in import load_stand_in

SIDE, PATCH, WIDTH, HEADS = 48, 8, 128, 4


def siglip_of(words: int) -> SiglipModel:
    """Return a SigLIP of the stand-in's size with random weights."""
    both = {
        "hidden_size": WIDTH,
        "intermediate_size": 4 * WIDTH,
        "num_attention_heads": HEADS,
        "hidden_act": "gelu_pytorch_tanh",
    }
    config = SiglipConfig(
        vision_config={**both, "num_hidden_layers": 6, "image_size": SIDE, "patch_size": PATCH},
        text_config={
            **both,
            "num_hidden_layers": 4,
            "vocab_size": words,
            "max_position_embeddings": CONTEXT,
            "projection_size": WIDTH,
            "pad_token_id": 0,
            "eos_token_id": 1,
            "bos_token_id": 2,
        },
    )
    return SiglipModel(config)


def side_of(model: SiglipModel) -> int:
    """Return the side of the pictures that a model takes."""
    return int(model.config.vision_config.image_size)


@torch.no_grad()
def begin(model: SiglipModel, tokenizer: Any, pixels: Tensor, scale: float, bias: float) -> None:
    """Lay the weights of clip_tiny into a SigLIP. `pixels` [n, 3, H, W] say how large its patches are before
    the norm that a SigLIP does not have.
    """
    clip = load_stand_in("clip_tiny")
    old: Any = clip.module
    _blocks(model.vision_model.encoder.layers, old.visual.transformer.resblocks)
    _blocks(model.text_model.encoder.layers, old.transformer.resblocks)
    _patches(model.vision_model.embeddings, old.visual, pixels)
    _copy(model.vision_model.post_layernorm, old.visual.ln_post)
    head = model.vision_model.head
    head.attention.in_proj_weight[2 * WIDTH :] = torch.eye(WIDTH)  # at first the mean of what it looks at
    head.attention.out_proj.weight.copy_(old.visual.proj.T)
    head.mlp.fc2.weight.mul_(0.1)
    text = model.text_model
    known = old.token_embedding.weight
    for word, number in tokenizer.get_vocab().items():
        ids = clip.tokenizer([word.replace("\u2581", " ").strip() or "."])[0]
        inside = ids[1 : int(ids.argmax())]
        text.embeddings.token_embedding.weight[number] = known[inside].mean(0)
    for special in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        text.embeddings.token_embedding.weight[special] = known[-1]
    places = old.positional_embedding
    text.embeddings.position_embedding.weight.copy_(torch.cat([places[1:], places[-1:]]))
    _copy(text.final_layer_norm, old.ln_final)
    text.head.weight.copy_(old.text_projection.T)
    text.head.bias.zero_()
    model.logit_scale.fill_(math.log(scale))
    model.logit_bias.fill_(bias)


def _copy(to: Any, of: Any) -> None:
    to.weight.copy_(of.weight)
    to.bias.copy_(of.bias)


def _blocks(to: Any, of: Any) -> None:
    for new, old in zip(to, of, strict=True):
        _copy(new.layer_norm1, old.ln_1)
        _copy(new.layer_norm2, old.ln_2)
        parts = zip(old.attn.in_proj_weight.chunk(3), old.attn.in_proj_bias.chunk(3), strict=True)
        attention = new.self_attn
        for linear, (weight, bias) in zip(
            (attention.q_proj, attention.k_proj, attention.v_proj), parts, strict=True
        ):
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        _copy(attention.out_proj, old.attn.out_proj)
        _copy(new.mlp.fc1, old.mlp.c_fc)
        _copy(new.mlp.fc2, old.mlp.c_proj)


def _patches(to: Any, old: Any, pixels: Tensor) -> None:
    """Fold clip_tiny's first norm into patches and places, at the deviation that its patches have on average,
    and its picture preparation into the patches.
    """
    from standin_clip import MEAN, STD

    plain = (pixels * 0.5 + 0.5 - MEAN) / STD
    tokens = old.conv1(plain).flatten(2).transpose(1, 2) + old.positional_embedding[1:]
    gain = old.ln_pre.weight / tokens.std(-1, correction=0).mean()
    weight = old.conv1.weight - old.conv1.weight.mean(0, keepdim=True)
    ratio, shift = (0.5 / STD).view(1, 3, 1, 1), ((0.5 - MEAN) / STD).view(1, 3, 1, 1)
    to.patch_embedding.weight.copy_(weight * ratio * gain.view(-1, 1, 1, 1))
    to.patch_embedding.bias.copy_((weight * shift).sum((1, 2, 3)) * gain + old.ln_pre.bias)
    places = old.positional_embedding[1:]
    to.position_embedding.weight.copy_((places - places.mean(-1, keepdim=True)) * gain)
