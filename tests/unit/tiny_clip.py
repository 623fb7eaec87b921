"""A CLIP just large enough to be quantized, around open_clip's own class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from open_clip.model import CLIP
from torch import Tensor, nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice, parameters
from razor_cli.contract.quantizable import Quantizable
from razor_cli.dual.quantizable import quantizable_of
from razor_cli.dual.view import Tower

VISION = {"layers": 2, "width": 32, "head_width": 8, "patch_size": 8, "image_size": 16}
TEXT = {"context_length": 8, "vocab_size": 64, "width": 32, "heads": 4, "layers": 2}
SUFFIXES = ("attn.in_proj_weight", "attn.out_proj.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
PROJECTIONS = {"visual.proj": Tower.VISION, "text_projection": Tower.TEXT}


def gaussian(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 0.02


class TinyClip:
    """As much of a dual encoder as quantization asks for, around open_clip's own class."""

    family, label, stand_in, scale = "clip", "tiny", True, 100.0

    def __init__(self, names: Sequence[str] | None = None, *, width: int = 32) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.module = CLIP(16, VISION | {"width": width}, TEXT | {"width": width}).eval()
            for parameter in self.module.parameters():
                parameter.data.normal_(0, 0.2)  # no zeros, no constant tensors: every restored bit is visible
        self.names = names

    def blocks(self, tower: Tower) -> list[nn.Module]:
        owner = self.module.visual.transformer if tower is Tower.VISION else self.module.transformer
        return list(owner.resblocks)

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        assert granularity is Granularity.TENSOR and towers is Towers.BOTH
        found = [(n, Tower.VISION if n.startswith("visual") else Tower.TEXT, 0) for n in self.linear()]
        if include_projections:
            found += [(n, tower, 2) for n, tower in PROJECTIONS.items()]
        return [Component(n, "tensor", tower, layer, (Slice(n),)) for n, tower, layer in found]

    def linear(self) -> list[str]:
        """Return what it says are its attention and MLP weights."""
        own = [n for n in parameters(self) if n.endswith(SUFFIXES)]
        return own if self.names is None else list(self.names)

    def quantizable(self) -> Quantizable:
        by_tower: dict[Tower, list[str]] = {Tower.VISION: [], Tower.TEXT: []}
        for name in self.linear():
            by_tower[Tower.VISION if name.startswith("visual") else Tower.TEXT].append(name)
        return quantizable_of(self, by_tower)  # type: ignore[arg-type]

    def encode_image(self, pixels: Tensor) -> Tensor:
        return self.module.encode_image(pixels, normalize=True)

    def bits(self) -> dict[str, Tensor]:
        return {name: value.clone() for name, value in parameters(self).items()}
