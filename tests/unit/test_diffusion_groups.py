"""Parameters of full-size architectures by group, counted without their weights: settings of the released
models, built on the meta device.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from tiny_drawn import family
from torch import nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.components import text_components, text_layouts
from razor_cli.families.diffusion.denoiser import CORES
from razor_cli.families.diffusion.groups import group, group_names
from razor_cli.families.diffusion.kinds import Kind

CLIP_L: dict[str, Any] = {
    "vocab_size": 49408,
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "max_position_embeddings": 77,
    "projection_dim": 768,
}
CLIP_G = CLIP_L | {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 20,
    "projection_dim": 1280,
    "hidden_act": "gelu",
}
UNET: dict[str, Any] = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "layers_per_block": 2,
    "down_block_types": (*["CrossAttnDownBlock2D"] * 3, "DownBlock2D"),
    "up_block_types": ("UpBlock2D", *["CrossAttnUpBlock2D"] * 3),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
}
SD3_MEDIUM: dict[str, Any] = {
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "out_channels": 16,
    "pos_embed_max_size": 192,
}


class Whole(nn.Module):
    """A full-size pipeline's text encoders and net, without values."""

    def __init__(self, kind: Kind) -> None:
        super().__init__()
        from diffusers import SD3Transformer2DModel, UNet2DConditionModel
        from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

        with torch.device("meta"):
            if kind is Kind.SD15:
                self.text_encoder: Any = CLIPTextModel(CLIPTextConfig(**CLIP_L))
                self.unet = UNet2DConditionModel(**UNET)
            else:
                self.text_encoder = CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_L))
                self.text_encoder_2 = CLIPTextModelWithProjection(CLIPTextConfig(**CLIP_G))
                self.transformer = SD3Transformer2DModel(**SD3_MEDIUM)


@cache
def whole(kind: Kind) -> Whole:
    return Whole(kind)


SIZES = {  # tensors, millions of values
    Kind.SD15: {
        "full": (686, 859.5),
        "xattn": (80, 43.96),
        "xattn_kv": (32, 19.17),
        "xattn_k": (16, 9.585),
        "selfattn": (80, 49.57),
        "up_selfattn": (10, 8.195),
        "text_encoder": (144, 84.99),
    },
    Kind.SD3: {
        "full": (682, 2028.3),
        "xattn": (190, 224.3),
        "xattn_kv": (96, 113.3),
        "xattn_k": (48, 56.66),
        "text_in": (4, 9.44),
        "selfattn": (192, 226.6),
        "noxattn": (336, 1019.8),
        "text_encoder": (528, 714.0),
    },
}


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_groups_hold_what_full_size_models_have(kind: Kind) -> None:
    module = whole(kind)
    sizes = {n: p.numel() for n, p in module.named_parameters()}
    found = {name: group(module, kind, CORES[kind], name) for name in group_names(kind)}
    counted = {n: (len(g), sum(sizes[p] for p in g) / 1e6) for n, g in found.items()}
    for name, (tensors, millions) in SIZES[kind].items():
        assert counted[name][0] == tensors, name
        assert counted[name][1] == pytest.approx(millions, rel=1e-3), name
    assert all(found.values())


def test_esd_x_and_esd_u_cover_every_layer_of_the_unet() -> None:
    kind, module = Kind.SD15, whole(Kind.SD15)
    layers = {n for n, m in module.named_modules() if isinstance(m, nn.Linear | nn.Conv2d) and "unet" in n}
    crossed, rest = (
        {p.rpartition(".")[0] for p in group(module, kind, "unet", name)} for name in ("xattn", "noxattn")
    )
    assert not crossed & rest and crossed | rest == layers
    assert (len(layers), len(crossed), len(rest)) == (282, 64, 218)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_heads_and_mlps_of_full_size_text_encoders(kind: Kind) -> None:
    module = whole(kind)
    encoders = {n: m for n, m in module.named_children() if n.startswith("text_encoder")}
    params = {n: p.data for n, p in module.named_parameters()}
    found = text_components(text_layouts(encoders), params, Granularity.HEAD_MLP, Towers.TEXT, False)
    counts = {t: sum(c.tower == t for c in found) for t in ("text", "text_2")}
    assert counts == {"text": 156, "text_2": 672 if kind is Kind.SD3 else 0}
    tensors = text_components(text_layouts(encoders), params, Granularity.TENSOR, Towers.TEXT, False)
    assert len(tensors) == 6 * (12 + (32 if kind is Kind.SD3 else 0))


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_components_are_disjoint_and_of_the_text_encoders(kind: Kind) -> None:
    model = family(kind)
    live = parameters(model)
    for granularity in Granularity:
        found = model.components(granularity, Towers.TEXT, include_projections=True)
        assert found == model.components(granularity, Towers.BOTH, include_projections=True)
        claimed = {n: torch.zeros_like(v) for c in found for n in c.params for v in [live[n]]}
        for component in found:
            for view in component.views(claimed):
                view.add_(1)
        assert all(float(v.max()) == 1 for v in claimed.values())
        assert {c.tower for c in found} == {"text"} | ({"text_2"} if kind is Kind.SD3 else set())
    with pytest.raises(ConfigError, match="has no such tower"):
        model.components(Granularity.BLOCK, Towers.VISION)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_the_last_layer_of_an_encoder_changes_what_it_is_known_to_change(kind: Kind) -> None:
    model = family(kind)
    last = [c for c in model.components(Granularity.BLOCK, Towers.TEXT) if c.tower == "text"][-1]
    live = parameters(model)
    before = model.denoiser.encode(["a photo of zed"])
    kept = {n: live[n].clone() for n in last.params}
    try:
        for n in last.params:
            live[n].mul_(0.5)
        after = model.denoiser.encode(["a photo of zed"])
    finally:
        for n, v in kept.items():
            live[n].copy_(v)
    assert torch.equal(before.tokens, after.tokens) is (kind is Kind.SD3)
    if before.pooled is not None and after.pooled is not None:
        assert not torch.equal(before.pooled, after.pooled)


@pytest.mark.parametrize("kind", list(Kind), ids=str)
def test_siblings_are_the_matrices_that_move_together(kind: Kind) -> None:
    model = family(kind)
    every = {c.name: c for c in model.components(Granularity.TENSOR, Towers.TEXT)}
    for name, count in (("self_attn.q_proj.weight", 3), ("mlp.fc2.weight", 2), ("out_proj.weight", 1)):
        for component in (c for n, c in every.items() if n.endswith(name)):
            found = model.siblings(component)
            assert len(found) == count and component in found
            assert len({(c.tower, c.layer) for c in found}) == 1


def test_a_group_that_is_not_there_is_refused_with_the_list() -> None:
    with pytest.raises(ConfigError) as caught:
        family(Kind.SD15).groups("text_in")
    assert "xattn_kv" in str(caught.value)
    assert family(Kind.SD3).groups("text_in")[0].startswith("transformer.")
