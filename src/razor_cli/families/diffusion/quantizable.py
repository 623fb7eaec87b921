"""What quantization covers of a pipeline, and the counts that prove it: attention and MLP weights of the text
encoders and of the net that draws.

Weights are found by their names, and counted by the classes of the modules around them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from torch import nn

from razor_cli.contract.quantizable import Quantizable
from razor_cli.families.diffusion.components import PROJECTION

TEXT, NET = "text", "denoiser"  # as quantization.scope calls them: all encoders, and UNet or transformer
VAE = "vae"
NETS = ("unet", "transformer")
OF_NET = re.compile(
    r"\.attn[12]?\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)\.weight|\.ff(_context)?\.net\.(0\.proj|2)\.weight"
)
OF_ENCODER = re.compile(
    r"layers\.\d+\.(self_attn\.(q|k|v|out)_proj|mlp\.fc[12])\.weight"
    r"|block\.\d+\.layer\.\d+\.(SelfAttention\.[qkvo]|DenseReluDense\.w[io](_\d)?)\.weight"
)


def quantizable_of(module: nn.Module) -> Quantizable:
    """Return what covers a pipeline, given the module whose children are its nets."""
    linear: dict[str, list[str]] = {TEXT: [], NET: []}
    blocks: dict[str, str] = {}
    counted = dict.fromkeys(linear, 0)
    for part, net in module.named_children():
        if part == VAE:
            continue
        tower, form = (NET, OF_NET) if part in NETS else (TEXT, OF_ENCODER)
        linear[tower] += [f"{part}.{n}" for n, _ in net.named_parameters() if form.search(n)]
        for name, block in _net_blocks(net) if tower == NET else _encoder_blocks(net):
            blocks |= {f"{part}.{name}.{n}": tower for n, _ in block.named_parameters()}
            counted[tower] += _count(block, is_net=tower == NET)
    names = [n for n, _ in module.named_parameters()]
    return Quantizable(
        linear=linear,
        counted=counted,
        blocks=blocks,
        home={n: NET if n.partition(".")[0] in NETS else TEXT for n in names if not n.startswith(f"{VAE}.")},
        convolutions={NET: [n for part in NETS for n in _weights(module, part, nn.Conv2d)]},
        projections={TEXT: [n for n in names if n.endswith(f".{PROJECTION}")]},
        vae={NET: list(_weights(module, VAE, nn.Conv2d, nn.Linear))},
    )


def _net_blocks(net: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the transformer blocks of a UNet or of SD3's transformer."""
    from diffusers.models.attention import BasicTransformerBlock, JointTransformerBlock

    kinds = (BasicTransformerBlock, JointTransformerBlock)
    return ((n, m) for n, m in net.named_modules() if isinstance(m, kinds))


def _encoder_blocks(encoder: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a text encoder: the members of its one list of them."""
    lists = ((n, m) for n, m in encoder.named_modules() if isinstance(m, nn.ModuleList))
    name, layers = next(lists)
    return ((f"{name}.{i}", layer) for i, layer in enumerate(layers))


def _count(block: nn.Module, *, is_net: bool) -> int:
    """Return how many attention and MLP matrices a block holds; of a net's block, what steers its norms by
    timestep or prompt is none of them.
    """
    parts: list[Any] = [block]
    if is_net:
        from diffusers.models.attention import FeedForward
        from diffusers.models.attention_processor import Attention

        parts = [m for m in block.children() if isinstance(m, Attention | FeedForward)]
    return sum(isinstance(m, nn.Linear) for part in parts for m in part.modules())


def _weights(module: nn.Module, part: str, *kinds: type[nn.Module]) -> Iterator[str]:
    """Yield the weights of all layers of these kinds in a part, if there is one."""
    if (net := getattr(module, part, None)) is not None:
        yield from (f"{part}.{n}.weight" for n, m in net.named_modules() if isinstance(m, kinds))
