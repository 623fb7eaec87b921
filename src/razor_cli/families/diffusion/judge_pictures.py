"""What the judges of the stand-ins are shown: moved and softened pictures, and pictures that show nothing.

All functions take and return float pictures [N, 3, H, W] in [0, 1] and draw from one generator.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORED = -100  # the label of a head that learns nothing from a picture
Spoiler = Callable[[Tensor, torch.Generator], Tensor]


def uniform(n: int, low: float, high: float, g: torch.Generator) -> Tensor:
    """Return n numbers of [low, high)."""
    return low + (high - low) * torch.rand(n, generator=g)


def moved(x: Tensor, side: int, g: torch.Generator, *, turn: float, zoom: float, shift: float) -> Tensor:
    """Return pictures turned (degrees), scaled and moved (share of half the side), the outside white."""
    n = len(x)
    angle, scale = uniform(n, -turn, turn, g) * math.pi / 180, 1 / uniform(n, 1 - zoom, 1 + zoom, g)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    rows = [(cos, -sin, uniform(n, -shift, shift, g)), (sin, cos, uniform(n, -shift, shift, g))]
    theta = torch.stack([torch.stack(row, 1) for row in rows], 1)
    grid = F.affine_grid(theta, [n, 3, side, side], align_corners=False)
    return 1 - F.grid_sample(1 - x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def tinted(x: Tensor, g: torch.Generator, strength: float = 1.0) -> Tensor:
    """Return pictures of a little other saturation, hue and contrast."""
    n = len(x)
    grey = x.mean(1, keepdim=True)
    chroma = (x - grey) * (1 + strength * uniform(n, -0.15, 0.15, g)).view(n, 1, 1, 1)
    angle = strength * uniform(n, -10, 10, g) * math.pi / 180
    axis, (c, s) = 1 / 3, (angle.cos(), angle.sin())
    own, after, before = c + (1 - c) * axis, (1 - c) * axis - s * axis**0.5, (1 - c) * axis + s * axis**0.5
    rows = [(own, after, before), (before, own, after), (after, before, own)]
    turn = torch.stack([torch.stack(row, 1) for row in rows], 1)
    out = grey + torch.einsum("nij,njhw->nihw", turn, chroma)
    gain = (1 + strength * uniform(n, -0.08, 0.08, g)).view(n, 1, 1, 1)
    return ((out - 0.5) * gain + 0.5).clamp(0, 1)


def blurred(x: Tensor, sigma: float) -> Tensor:
    """Return pictures under a Gaussian of one width in pixels."""
    radius = max(1, math.ceil(2.5 * sigma))
    steps = torch.arange(-radius, radius + 1, dtype=x.dtype)
    kernel = torch.exp(-(steps**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    wide = F.pad(x, (radius,) * 4, mode="replicate")
    flat = F.conv2d(wide, kernel.view(3, 1, 1, -1), groups=3)
    return F.conv2d(flat, kernel.view(3, 1, -1, 1), groups=3)


def worn(x: Tensor, g: torch.Generator) -> Tensor:
    """Return pictures, two in five of them a little blurred or noisy: they show what they showed."""
    x = x.clone()
    n = len(x)
    for part in torch.randperm(n, generator=g)[: n // 4].split(max(1, n // 12)):
        x[part] = blurred(x[part], float(uniform(1, 0.4, 1.3, g)))
    noisy = torch.randperm(n, generator=g)[: n // 6]
    x[noisy] += 0.05 * torch.rand(len(noisy), 1, 1, 1, generator=g) * noise(x[noisy], g)
    return x.clamp(0, 1)


def noise(x: Tensor, g: torch.Generator) -> Tensor:
    """Return Gaussian noise in the shape of pictures."""
    return torch.randn(x.shape, generator=g)


def coarse_noise(x: Tensor, g: torch.Generator) -> Tensor:
    """Return noise of a random grain around a random colour."""
    cell = int(2 ** torch.randint(0, 5, (1,), generator=g))
    small = torch.randn(len(x), 3, -(-x.shape[2] // cell), -(-x.shape[3] // cell), generator=g)
    grain = F.interpolate(small, x.shape[-2:], mode="bilinear", align_corners=False)
    base = torch.rand(len(x), 3, 1, 1, generator=g)
    return (base + uniform(len(x), 0.05, 0.5, g).view(-1, 1, 1, 1) * grain).clamp(0, 1)


def flat(x: Tensor, g: torch.Generator) -> Tensor:
    """Return one colour or a slope between two; every third is white or nearly so."""
    n, _, h, w = x.shape
    ends = torch.rand(2, n, 3, 1, 1, generator=g)
    ends[:, ::3] = 1 - 0.05 * ends[:, ::3]
    across = torch.linspace(0, 1, w).expand(n, 1, h, w)
    down = torch.linspace(0, 1, h).view(h, 1).expand(n, 1, h, w)
    ramp = torch.where(torch.arange(n).view(-1, 1, 1, 1) % 2 == 0, across, down)
    return ends[0] * (1 - ramp) + ends[1] * ramp


def melted(x: Tensor, g: torch.Generator) -> Tensor:
    """Return pictures blurred until nothing can be made out."""
    return blurred(x, float(uniform(1, 7, 12, g)))


def shuffled(x: Tensor, g: torch.Generator) -> Tensor:
    """Return pictures whose square tiles changed places."""
    n, c, h, w = x.shape
    tile = (8, 16)[int(torch.randint(2, (1,), generator=g))]
    cells = x.reshape(n, c, h // tile, tile, w // tile, tile).permute(0, 2, 4, 1, 3, 5).flatten(1, 2)
    cells = cells[:, torch.randperm(cells.shape[1], generator=g)]
    back = cells.reshape(n, h // tile, w // tile, c, tile, tile).permute(0, 3, 1, 4, 2, 5)
    return back.reshape(n, c, h, w)


def drowned(x: Tensor, g: torch.Generator) -> Tensor:
    """Return pictures under so much noise, smooth or not, that they look half denoised."""
    share = uniform(len(x), 0.6, 0.95, g).view(-1, 1, 1, 1)
    grain = blurred(noise(x, g), float(uniform(1, 0.6, 3, g)))
    grain = 0.5 + 0.3 * grain / grain.std().clamp(min=1e-3)
    return ((1 - share) * blurred(x, 1.0) + share * grain).clamp(0, 1)


SPOILERS: tuple[Spoiler, ...] = (coarse_noise, flat, melted, shuffled, drowned)


def blended(x: Tensor, labels: Tensor, none: Tensor, g: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return mixtures of each picture with the one before it, and their labels [N, K]: none of these where
    the two differ, ignored where they agree on something.
    """
    share = uniform(len(x), 0.4, 0.6, g).view(-1, 1, 1, 1)
    other = labels.roll(1, 0)
    same = (labels == other) & (labels != none)
    return share * x + (1 - share) * x.roll(1, 0), torch.where(same, IGNORED, none.expand_as(labels))
