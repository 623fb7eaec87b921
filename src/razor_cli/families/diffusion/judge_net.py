"""The small networks that judge pictures of the stand-ins: one body, one head per kind of label.

Two architectures, so that the judge that guides a search and the judge that examines what came of it do not
share their blind spots.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

SIDE = 64  # pixels; pictures are resized to it


class _Headed(nn.Module):
    """A body that turns pictures into features, and linear heads on them.

    Each head has one output more than labels, the last: none of these.
    """

    def __init__(self, body: nn.Module, width: int, heads: Mapping[str, int]) -> None:
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict({kind: nn.Linear(width, count + 1) for kind, count in heads.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the logits of every head on pictures [N, 3, H, W] in [0, 1]."""
        features = self.body(2 * pictures - 1)
        return {kind: head(features) for kind, head in self.heads.items()}


class _Mean(nn.Module):
    """The mean over places."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, C] of [N, C, H, W]."""
        return x.mean((2, 3))


class _MeanAndPeak(nn.Module):
    """The mean and the maximum over places, beside each other."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [N, 2C] of [N, C, H, W]."""
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


def _step(before: int, after: int, size: int, stride: int, bend: nn.Module) -> nn.Sequential:
    """Return a convolution, its normalization and its nonlinearity."""
    conv = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(after), bend)


class _Residual(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _step(width, width, 3, 1, nn.SiLU()), _step(width, width, 3, 1, nn.Identity())
        )
        self.bend = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of both ways."""
        out: Tensor = self.bend(x + self.inner(x))
        return out


def plain(heads: Mapping[str, int]) -> nn.Module:
    """Return a chain of 3 x 3 convolutions that halve the side, rectified, averaged over places."""
    widths = (3, 24, 48, 72, 96)
    steps = [_step(a, b, 3, 2, nn.ReLU()) for a, b in itertools.pairwise(widths)]
    steps.insert(2, _step(48, 48, 3, 1, nn.ReLU()))
    return _Headed(nn.Sequential(*steps, _Mean()), widths[-1], heads)


def residual(heads: Mapping[str, int]) -> nn.Module:
    """Return a 5 x 5 stem and residual blocks between averaging steps; mean and peak over places."""
    steps: list[nn.Module] = [_step(3, 24, 5, 2, nn.SiLU()), nn.AvgPool2d(2)]
    for before, after in ((24, 48), (48, 80)):
        steps += [_step(before, after, 1, 1, nn.SiLU()), _Residual(after), nn.AvgPool2d(2)]
    return _Headed(nn.Sequential(*steps, _MeanAndPeak()), 160, heads)


NETS = {"plain": plain, "residual": residual}
