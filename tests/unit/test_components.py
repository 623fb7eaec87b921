"""How the towers are cut: nothing owned twice, nothing of attention lost, and a head's columns
are that head.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from tiny_world import make_clip, make_sets, to_pixels, tokenize
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice, parameters, swapped
from razor_cli.dual.components import (
    HUGGING_FACE,
    NOT_CANDIDATES,
    TowerLayout,
    head_slices,
    layer_of,
    list_components,
    mlp_slices,
)
from razor_cli.dual.view import Tower
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.hugging_face import _hf_layout
from razor_cli.families.clip.open_clip_models import open_clip_view

HF_PARTS = {"attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}


def counted(component: Component, live: dict[str, Tensor], counts: dict[str, Tensor]) -> None:
    for view in component.views(counts):
        view.add_(1)
    assert all(s.param in live for s in component.slices)


def ownership(model: Clip, granularity: Granularity, *, projections: bool = True) -> dict[str, Tensor]:
    """Return how many components own each entry of each parameter."""
    live = parameters(model)
    counts = {n: torch.zeros_like(v) for n, v in live.items()}
    for component in model.components(granularity, Towers.BOTH, projections):
        counted(component, live, counts)
    return counts


@pytest.fixture(scope="module")
def model(taught: Any) -> Clip:
    return make_clip(torch.float32)


@pytest.mark.parametrize("granularity", list(Granularity))
def test_no_entry_is_owned_twice_and_names_are_unique(model: Clip, granularity: Granularity) -> None:
    counts = ownership(model, granularity)
    assert max(int(v.max()) for v in counts.values()) == 1
    names = [c.name for c in model.components(granularity, Towers.BOTH, True)]
    assert len(names) == len(set(names))


def test_heads_own_all_of_attention_but_the_output_bias(model: Clip) -> None:
    counts = ownership(model, Granularity.HEAD_MLP)
    for name, count in counts.items():
        expected = (".attn." in name and not name.endswith("out_proj.bias")) or ".mlp." in name
        expected = expected or name in {"visual.proj", "text_projection"}
        assert bool((count == int(expected)).all()), name


@pytest.mark.parametrize("granularity", [Granularity.ATTN_MLP, Granularity.BLOCK])
def test_coarser_cuts_own_whole_attention_and_mlp_tensors(model: Clip, granularity: Granularity) -> None:
    for name, count in ownership(model, granularity, projections=False).items():
        assert bool((count == int(".attn." in name or ".mlp." in name)).all()), name


def test_towers_split_the_components(model: Clip) -> None:
    for granularity in Granularity:
        vision, text, both = (
            [c.name for c in model.components(granularity, t, True)]
            for t in (Towers.VISION, Towers.TEXT, Towers.BOTH)
        )
        assert vision + text == both and vision and text
        assert all(n.startswith("visual") for n in vision) and not any(n.startswith("visual") for n in text)


def test_head_rows_of_q_k_and_v_and_columns_of_the_output(model: Clip) -> None:
    head = next(c for c in model.components(Granularity.HEAD_MLP, Towers.BOTH) if c.name == "visual.1.head2")
    block = "visual.transformer.resblocks.1.attn."
    rows = [(0, start, start + 8) for start in (16, 32 + 16, 64 + 16)]
    expected = {(block + n, *r) for n in ("in_proj_weight", "in_proj_bias") for r in rows} | {
        (block + "out_proj.weight", 1, 16, 24)
    }
    assert {(s.param, s.dim, s.start, s.stop) for s in head.slices} == expected


def attention_by_hand(model: Clip, name: str, x: Tensor, heads: int, kept: list[int]) -> Tensor:
    """Return multi-head self-attention of x [n, L, d], of the heads in `kept` only, from the weights'
    definition.
    """
    live = {k.removeprefix(name): v for k, v in parameters(model).items() if k.startswith(name)}
    d = x.shape[-1]
    dh = d // heads
    q, k, v = (x @ live["in_proj_weight"].T + live["in_proj_bias"]).split(d, dim=-1)
    total = live["out_proj.bias"].expand_as(x).clone()
    for h in kept:
        part = slice(h * dh, (h + 1) * dh)
        weights = F.softmax(q[..., part] @ k[..., part].transpose(-1, -2) / dh**0.5, dim=-1)
        total = total + (weights @ v[..., part]) @ live["out_proj.weight"][:, part].T
    return total


@pytest.mark.parametrize("head", range(4))
def test_zeroing_a_heads_output_columns_removes_exactly_that_head(model: Clip, head: int) -> None:
    component = next(
        c for c in model.components(Granularity.HEAD_MLP, Towers.BOTH) if c.name == f"visual.1.head{head}"
    )
    name = "visual.transformer.resblocks.1.attn."
    attention = model.blocks(Tower.VISION)[1].attn
    x = torch.randn(2, 5, 32, generator=torch.Generator().manual_seed(0))
    weight = parameters(model)[name + "out_proj.weight"].clone()
    (columns,) = [s for s in component.slices if s.param == name + "out_proj.weight"]
    columns.of(weight).zero_()
    with torch.no_grad(), swapped(model, {name + "out_proj.weight": weight}):
        batch_first = getattr(attention, "batch_first", False)
        y = x if batch_first else x.transpose(0, 1)
        found = attention(y, y, y, need_weights=False)[0]
        found = found if batch_first else found.transpose(0, 1)
    others = [h for h in range(4) if h != head]
    assert torch.allclose(found, attention_by_hand(model, name, x, 4, others), atol=1e-5)
    assert not torch.allclose(found, attention_by_hand(model, name, x, 4, list(range(4))), atol=1e-3)


@pytest.mark.parametrize("granularity", list(Granularity))
def test_editing_one_tower_leaves_the_other_bit_identical(model: Clip, granularity: Granularity) -> None:
    sets = make_sets()
    pixels, tokens = model.preprocess(sets.forget.load(0, 4)), tokenize(sets.retain.captions[:5])
    with torch.no_grad():
        before = {Tower.VISION: model.encode_image(pixels), Tower.TEXT: model.encode_text(tokens)}
        for tower, other in ((Tower.VISION, Tower.TEXT), (Tower.TEXT, Tower.VISION)):
            components = model.components(granularity, Towers(tower.value), True)
            values = {p: parameters(model)[p] * 1.3 for c in components for p in c.params}
            with swapped(model, values):
                now = {Tower.VISION: model.encode_image(pixels), Tower.TEXT: model.encode_text(tokens)}
            assert torch.equal(now[other], before[other])
            assert not torch.allclose(now[tower], before[tower], atol=1e-3)


@pytest.mark.parametrize(("architecture", "count"), [("ViT-B-32", 264), ("ViT-L-14", 564)])
def test_full_size_counts_without_weights(architecture: str, count: int) -> None:
    config = open_clip.get_model_config(architecture)
    with torch.device("meta"):
        module = open_clip.model.CLIP(**config)
    model = open_clip_view("full", module, tokenize, to_pixels, {}, "none", architecture, stand_in=False)
    found = model.components(Granularity.HEAD_MLP, Towers.BOTH)
    assert len(found) == count
    layers = sum(layout.layers for layout in model.layouts)
    assert len(model.components(Granularity.ATTN_MLP, Towers.BOTH)) == 2 * layers
    assert len(model.components(Granularity.BLOCK, Towers.BOTH)) == layers
    covered = model.quantizable()
    assert sum(map(len, covered.linear.values())) == sum(covered.counted.values()) == 4 * layers
    for a, b in combinations([s for c in found if c.name.startswith("text.0.") for s in c.slices], 2):
        assert a.param != b.param or a.dim != b.dim or a.stop <= b.start or b.stop <= a.start


@pytest.mark.parametrize("tower", list(Tower))
def test_slices_by_hugging_face_names_are_the_same_entries(model: Clip, tower: Tower) -> None:
    layout = model.layouts[0 if tower is Tower.VISION else 1]
    live = parameters(model)
    prefix = "vision_model.encoder.layers."
    other = replace(layout, prefix=prefix, projection=None, names=HUGGING_FACE)
    renamed: dict[str, Tensor] = {}
    for layer in range(layout.layers):
        block = layout.block(layer)
        for kind in ("weight", "bias"):
            fused = live[f"{block}attn.in_proj_{kind}"].chunk(3)
            renamed |= {
                f"{prefix}{layer}.self_attn.{x}_proj.{kind}": part
                for x, part in zip("qkv", fused, strict=True)
            }
            renamed |= {
                f"{prefix}{layer}.{new}.{kind}": live[f"{block}{old}.{kind}"] for old, new in HF_PARTS.items()
            }

    def owned(layout: TowerLayout, tensors: dict[str, Tensor]) -> list[Tensor]:
        layers, heads = range(layout.layers), range(layout.heads)
        parts = [head_slices(layout, x, h) for x in layers for h in heads] + [
            mlp_slices(layout, x) for x in layers
        ]
        return [torch.cat([piece.of(tensors[piece.param]).reshape(-1) for piece in part]) for part in parts]

    for ours, theirs in zip(owned(layout, live), owned(other, renamed), strict=True):
        assert torch.equal(ours, theirs)


def test_hugging_face_models_are_cut_the_same_way() -> None:
    from transformers import CLIPConfig, CLIPModel

    tower = {"hidden_size": 32, "intermediate_size": 128, "num_attention_heads": 4}
    text = {**tower, "num_hidden_layers": 2, "vocab_size": 64, "max_position_embeddings": 16}
    vision = {**tower, "num_hidden_layers": 3, "image_size": 16, "patch_size": 8}
    config = CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)
    module = CLIPModel(config)
    layouts = (
        _hf_layout(module, Tower.VISION, config.vision_config, "vision_model", "visual_projection.weight"),
        _hf_layout(module, Tower.TEXT, config.text_config, "text_model", "text_projection.weight"),
    )
    params = dict(module.named_parameters())
    ours = make_clip(taught=False)
    for granularity in (Granularity.HEAD_MLP, Granularity.ATTN_MLP, Granularity.BLOCK):
        found = list_components(layouts, params, granularity, Towers.BOTH, False)
        expected = ours.components(granularity, Towers.BOTH)
        assert [(c.name, c.kind, c.tower, c.layer) for c in found] == [
            (c.name, c.kind, c.tower, c.layer) for c in expected
        ]
        assert [sum(v.numel() for v in c.views(params)) for c in found] == [
            c.vector(ours.stored).numel() for c in expected
        ]
    assert [s.tower for s in layouts] == [Tower.VISION, Tower.TEXT]
    tensors = list_components(layouts, params, Granularity.TENSOR, Towers.BOTH, True)
    assert {"visual_projection.weight", "text_projection.weight"} <= {c.name for c in tensors}
    assert {c.name: c.layer for c in tensors}["vision_model.pre_layrnorm.weight"] == -1
    assert {c.name: c.layer for c in tensors}["vision_model.post_layernorm.weight"] == 3


def test_slug_candidates_are_whole_tensors_by_the_published_rule(model: Clip) -> None:
    live = parameters(model)
    found = model.components(Granularity.TENSOR, Towers.BOTH, include_projections=True)
    expected = {n for n in live if not any(w in n for w in ("bias", "logit_scale", "position", "embedding"))}
    assert {c.name for c in found} == expected
    assert {
        "visual.conv1.weight",
        "visual.ln_pre.weight",
        "visual.proj",
        "text_projection",
        "ln_final.weight",
    } <= expected
    assert all(c.slices == (Slice(c.name),) for c in found)
    assert {c.name for c in found if c.tower is Tower.VISION} == {n for n in expected if "visual" in n}
    plain = {c.name for c in model.components(Granularity.TENSOR, Towers.BOTH)}
    assert expected - plain == {"visual.proj", "text_projection"}
    assert NOT_CANDIDATES == ("bias", "logit_scale", "position", "embedding")


@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("visual.conv1.weight", -1),
        ("visual.ln_pre.weight", -1),
        ("visual.transformer.resblocks.2.attn.out_proj.weight", 2),
        ("visual.transformer.resblocks.0.mlp.c_proj.weight", 0),
        ("visual.ln_post.weight", 3),
        ("visual.proj", 3),
    ],
)
def test_replay_may_start_at_the_block_a_tensor_is_in(model: Clip, name: str, layer: int) -> None:
    assert layer_of(name, model.layouts[0]) == layer


def test_a_components_vector_is_a_copy_and_its_views_are_not() -> None:
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(4.0)}
    component = Component("c", "head", Tower.TEXT, 0, (Slice("a", 1, 1, 3), Slice("b", 0, 0, 2)))
    assert component.vector(tensors).tolist() == [1, 2, 4, 5, 0, 1]
    component.vector(tensors).fill_(9)
    assert tensors["b"].tolist() == [0, 1, 2, 3]
    component.views(tensors)[0].fill_(9)
    assert tensors["a"].tolist() == [[0, 9, 9], [3, 9, 9]]
    assert component.params == ("a", "b")
