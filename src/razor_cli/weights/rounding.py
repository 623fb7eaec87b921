"""Round-to-nearest (RTN) weight quantization: pure functions from a weight to its codes and to its
dequantized values.

"Fake" quantization: the values that a b-bit kernel would multiply with, kept in the weight's own dtype. The
weight error is that of real kernels, any tensor can be treated (`in_proj_weight` is no module) and inference
needs no other library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from razor_cli.errors import RunError


class Rounded(NamedTuple):
    """A quantized weight: integer codes and the values they stand for, both in the weight's shape."""

    codes: Tensor  # int32
    values: Tensor  # in the weight's dtype


def check_finite(weight: Tensor, name: str = "weight") -> None:
    """Refuse NaN and infinity: one of them would spread over its whole row or group. Raises RunError."""
    bad = weight.numel() - int(torch.isfinite(weight).sum())
    if bad:
        raise RunError(
            f"{name} cannot be quantized: it holds values that are not finite",
            found=f"{bad} of {weight.numel()} values",
            fix="check the edit's step size, or the checkpoint",
        )


def rtn_symmetric(weight: Tensor, bits: int, group: int = 0) -> Rounded:
    """Quantize with s = max|w| / (2^(bits-1) - 1), q = clamp(round(w / s)), per row or per group of `group`
    columns.

    Args: weight [out, ...] (dimension 0 is the output channel, the rest is flattened), bits 2 to 16, group 0
    = whole row. Raises RunError for values that are not finite, ValueError for fewer than two dimensions.
    """
    top = 2 ** (bits - 1) - 1

    def rounded(w: Tensor) -> Rounded:
        scale = _usable(w.abs().amax(-1, keepdim=True) / top)
        codes = torch.round(w / scale).clamp(-top - 1, top)
        return Rounded(codes, codes * scale)

    return _by_group(weight, group, rounded)


def rtn_asymmetric(weight: Tensor, bits: int, group: int = 0) -> Rounded:
    """Quantize with s = (max - min) / (2^bits - 1) and integer zero point z = round(-min / s), q =
    clamp(round(w / s) + z).

    Arguments and errors as in `rtn_symmetric`. The zero point may lie outside the codes' range, when a group
    has one sign. A group of equal values is kept as it is (code 0, s = |w|).
    """
    top = 2**bits - 1

    def rounded(w: Tensor) -> Rounded:
        low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
        flat = (high - low) / top < torch.finfo(w.dtype).tiny
        scale = torch.where(flat, _usable(high.abs()), (high - low) / top)
        zero = -torch.round(low / scale)
        scale = torch.where(flat, scale, _on_grid(low, high, scale, zero, top))
        codes = (torch.round(w / scale) + zero).clamp(0, top)
        # The ends of the range have the end codes by definition. Where max/s and min/s lie on a rounding tie
        # (a range centred on 0), float noise could give max the code below, and quantizing twice would then
        # shrink the range.
        codes = torch.where((w == high) & ~flat, float(top), codes)
        return Rounded(codes, (codes - zero) * scale)

    return _by_group(weight, group, rounded)


def _on_grid(low: Tensor, high: Tensor, scale: Tensor, zero: Tensor, top: int) -> Tensor:
    """Return the scale, taken from the range's far end where a group of one sign has that end on its grid
    already.

    A narrow range far from zero has its scale from a difference that cancels; times a large zero point its
    rounding error is felt, and quantizing twice would move the values. Within that error the far end over its
    code is the same scale, exact.
    """
    lower = low.abs() >= high.abs()
    far, steps = torch.where(lower, low, high), torch.where(lower, -zero, top - zero)
    exact = far / torch.where(steps == 0, 1.0, steps)
    noise = 2 * torch.finfo(scale.dtype).eps * far.abs() / top
    one_sign = (low > 0) | (high < 0)
    return torch.where(one_sign & (steps != 0) & ((exact - scale).abs() <= noise), exact, scale)


def _usable(scale: Tensor) -> Tensor:
    """Return `scale` with 1 where it is zero or subnormal, so that a row of zeros stays zeros."""
    return torch.where(scale < torch.finfo(scale.dtype).tiny, 1.0, scale)


def _by_group(weight: Tensor, group: int, rounded: Callable[[Tensor], Rounded]) -> Rounded:
    """Apply `rounded` in fp32 to [rows, groups, group] and to the shorter last group, and put the parts
    together.
    """
    if weight.ndim < 2:
        raise ValueError(f"a weight to quantize has rows and columns, got shape {tuple(weight.shape)}")
    check_finite(weight)
    rows = weight.detach().reshape(weight.shape[0], -1).float()
    width = rows.shape[1]
    size = min(group, width) if group else width
    full = width - width % size
    parts = [rounded(rows[:, :full].reshape(rows.shape[0], -1, size))]
    if full < width:
        parts.append(rounded(rows[:, full:].unsqueeze(1)))
    codes = torch.cat([p.codes.flatten(1) for p in parts], dim=1).reshape(weight.shape)
    values = torch.cat([p.values.flatten(1) for p in parts], dim=1).reshape(weight.shape)
    return Rounded(codes.to(torch.int32), values.to(weight.dtype))
