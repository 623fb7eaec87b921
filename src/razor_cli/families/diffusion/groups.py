"""Groups of parameters that methods on UNet or transformer change, found by block and attribute.

Never by a pattern over names: `attn2` is cross-attention in SD1.5's blocks and a second self-attention in
those of SD3.5. Every group has members, or the architecture is not the one it is defined for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import nn

from razor_cli.errors import ConfigError, RunError, nearest
from razor_cli.families.diffusion.components import CLIP_ENCODERS, text_layouts
from razor_cli.families.diffusion.kinds import Kind

XATTN, XATTN_KV, XATTN_K = "xattn", "xattn_kv", "xattn_k"
TEXT_IN, NOXATTN = "text_in", "noxattn"
SELFATTN, FULL, TEXT_ENCODER, EMBEDDING = "selfattn", "full", "text_encoder", "embedding"
UP_SELFATTN = "up_selfattn"  # of a UNet: self-attention in the middle of the upper half
Parts = Iterator[tuple[str, nn.Module]]  # names inside the net

SELF = ("to_q", "to_k", "to_v", "to_out.0")
JOINT_TEXT = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")


def unet_blocks(unet: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the transformer blocks of a UNet with their names."""
    from diffusers.models.attention import BasicTransformerBlock

    return ((n, m) for n, m in unet.named_modules() if isinstance(m, BasicTransformerBlock))


def joint_blocks(transformer: Any) -> Iterator[tuple[str, Any]]:
    """Yield the blocks of SD3's transformer with their names."""
    return ((f"transformer_blocks.{i}", b) for i, b in enumerate(transformer.transformer_blocks))


def _inside(name: str, module: Any, parts: tuple[str, ...]) -> Parts:
    """Yield the named submodules of a module that it has: the last of SD3's blocks lacks some."""
    for part in parts:
        held: Any = module
        for step in part.split("."):
            held = held[int(step)] if step.isdigit() else getattr(held, step, None)
            if held is None:
                break
        else:
            yield f"{name}.{part}", held


def _unet_attention(attribute: str, parts: tuple[str, ...]) -> Callable[[Any], Parts]:
    def found(unet: Any) -> Parts:
        for name, block in unet_blocks(unet):
            yield from _inside(f"{name}.{attribute}", getattr(block, attribute), parts)

    return found


def _joint(*parts: str) -> Callable[[Any], Parts]:
    def found(transformer: Any) -> Parts:
        for name, block in joint_blocks(transformer):
            yield from _inside(name, block, parts)

    return found


def _without_cross_attention(unet: Any) -> Parts:
    """Yield all linear and convolutional layers outside of cross-attention."""
    crossed = {id(m) for _, block in unet_blocks(unet) for m in block.attn2.modules()}
    for name, module in unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and id(module) not in crossed:
            yield name, module


def _up_self_attention(unet: Any) -> Parts:
    """Yield the self-attention of the second transformer in each of the first two blocks upwards that have
    one: up_blocks.1.attentions.1 and up_blocks.2.attentions.1 of a full-size UNet.
    """
    ups = [f"up_blocks.{i}" for i, b in enumerate(unet.up_blocks) if hasattr(b, "attentions")][:2]
    for name, block in unet_blocks(unet):
        if any(name.startswith(f"{up}.attentions.1.") for up in ups):
            yield from _inside(f"{name}.attn1", block.attn1, SELF)


def _text_entrance(transformer: Any) -> Parts:
    yield from _inside("", transformer, ("context_embedder", "time_text_embed.text_embedder.linear_1"))


def _whole(core: Any) -> Parts:
    yield "", core


IMAGE_STREAM = tuple(f"attn.{p}" for p in SELF)
GROUPS: dict[Kind, dict[str, Callable[[Any], Parts]]] = {
    Kind.SD15: {
        XATTN: _unet_attention("attn2", SELF),
        XATTN_KV: _unet_attention("attn2", ("to_k", "to_v")),
        XATTN_K: _unet_attention("attn2", ("to_k",)),
        NOXATTN: _without_cross_attention,
        SELFATTN: _unet_attention("attn1", SELF),
        UP_SELFATTN: _up_self_attention,
        FULL: _whole,
    },
    Kind.SD3: {
        XATTN: _joint(*(f"attn.{p}" for p in JOINT_TEXT)),
        XATTN_KV: _joint("attn.add_k_proj", "attn.add_v_proj"),
        XATTN_K: _joint("attn.add_k_proj"),
        TEXT_IN: _text_entrance,
        NOXATTN: _joint(*IMAGE_STREAM, "ff", "norm1.linear"),
        SELFATTN: _joint(*IMAGE_STREAM),
        FULL: _whole,
    },
}


OF_TEXT = (TEXT_ENCODER, EMBEDDING)


def group_names(kind: Kind) -> list[str]:
    """Return the names of the groups that a kind of pipeline has."""
    return [*GROUPS[kind], *OF_TEXT]


def group(module: nn.Module, kind: Kind, core: str, name: str) -> list[str]:
    """Return the parameters of a group, in the order of the architecture; `core` is the net's name in the
    module. ConfigError lists the groups there are.
    """
    if name not in group_names(kind):
        near = nearest(name, group_names(kind))
        raise ConfigError(
            f"there is no group of parameters '{name}' in a pipeline of the kind {kind}",
            allowed=", ".join(group_names(kind)),
            found=name,
            fix=f"did you mean {near[0]}?" if near else None,
        )
    names = _text(module, name) if name in OF_TEXT else _net(module, kind, core, name)
    if not names:
        raise RunError(f"the group {name} is empty: no such layer in the model's {core}")
    return names


def _net(module: nn.Module, kind: Kind, core: str, name: str) -> list[str]:
    net = module.get_submodule(core)
    chosen = {id(p) for _, part in GROUPS[kind][name](net) for p in part.parameters()}
    return [f"{core}.{n}" for n, p in net.named_parameters() if id(p) in chosen]


def _text(module: nn.Module, name: str) -> list[str]:
    """Return attention and MLP of the CLIP encoders' layers, or the tables that their words come from."""
    if name == EMBEDDING:
        tables = tuple(n for n, _ in module.named_parameters() if n.endswith("token_embedding.weight"))
        return [n for n in tables if n.partition(".")[0] in CLIP_ENCODERS]
    encoders = {n: m for n, m in module.named_children() if n in CLIP_ENCODERS}
    chosen = {w for layout in text_layouts(encoders) for i in range(layout.layers) for w in layout.weights(i)}
    chosen |= {w.removesuffix("weight") + "bias" for w in chosen}
    return [n for n, _ in module.named_parameters() if n in chosen]
