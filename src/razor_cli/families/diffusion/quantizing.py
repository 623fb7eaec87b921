"""What quantization covers of a pipeline, and the counts that prove it. The VAE stays as it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from razor_cli.contract.components import Component, home_of
from razor_cli.contract.family import Quantizable
from razor_cli.dual.components import TowerLayout
from razor_cli.families.diffusion.components import TOWERS
from razor_cli.families.diffusion.denoiser import CORES, Denoiser
from razor_cli.families.diffusion.groups import joint_blocks, unet_blocks
from razor_cli.families.diffusion.kinds import Kind

PARTS = ("attn", "attn1", "attn2", "ff", "ff_context")  # attention and MLPs of a block, whatever its kind


def quantizable_of(
    denoiser: Denoiser, layouts: Sequence[TowerLayout], tensors: Sequence[Component]
) -> Quantizable:
    """Return what covers the attention and MLP weights of the CLIP encoders and of the net's blocks."""
    core = CORES[denoiser.kind]
    blocks = [(f"{core}.{n}", b) for n, b in core_blocks(denoiser)]
    linear: dict[str, Sequence[str]] = {
        layout.tower: [w for i in range(layout.layers) for w in layout.weights(i)] for layout in layouts
    }
    counted = {
        layout.tower: _linears(denoiser.module.get_submodule(layout.prefix.rstrip("."))) for layout in layouts
    }
    home = home_of(tensors)
    inside = tuple(f"{name}." for name, _ in blocks) + tuple(layout.prefix for layout in layouts)
    tower = TOWERS[core]
    return Quantizable(
        linear=linear | {tower: [w for name, block in blocks for w in _weights(name, block)]},
        counted=counted | {tower: sum(_linears(block) - _modulations(block) for _, block in blocks)},
        blocks={name: where for name, where in home.items() if name.startswith(inside)},
        home=home,
        convolutions={
            tower: [
                f"{core}.{n}.weight" for n, m in denoiser.core.named_modules() if isinstance(m, nn.Conv2d)
            ]
        },
    )


def core_blocks(denoiser: Denoiser) -> Iterator[tuple[str, Any]]:
    """Yield the transformer blocks of the net with their names in it."""
    return unet_blocks(denoiser.core) if denoiser.kind is Kind.SD15 else joint_blocks(denoiser.core)


def _weights(name: str, block: Any) -> Iterator[str]:
    for part in PARTS:
        for inner, module in (getattr(block, part, None) or nn.Module()).named_modules():
            if isinstance(module, nn.Linear):
                yield f"{name}.{part}.{inner}.weight"


def _linears(module: nn.Module) -> int:
    """Return how many matrices a module holds, counted without looking at names."""
    return sum(isinstance(m, nn.Linear) for m in module.modules())


def _modulations(block: nn.Module) -> int:
    """Return how many of them scale and shift what a norm puts out, by the class that holds them."""
    return sum(_linears(m) for m in block.modules() if type(m).__name__.startswith("AdaLayerNorm"))
