"""What quantization may cover of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Quantizable:
    """Which weights a quantization scope covers, and the counts that prove that none is missing."""

    linear: Mapping[str, Sequence[str]]  # tower -> attention and MLP weights of its blocks
    counted: Mapping[str, int]  # tower -> how many its modules hold, counted without looking at names
    blocks: Mapping[str, str]  # parameter inside a block -> tower
    home: Mapping[str, str]  # parameter that an edit may change -> tower
    convolutions: Mapping[str, Sequence[str]] = field(default_factory=dict)  # tower -> what patch_conv adds
    projections: Mapping[str, Sequence[str]] = field(default_factory=dict)  # tower -> what projections adds
    vae: Mapping[str, Sequence[str]] = field(default_factory=dict)  # tower -> what vae adds
    transposed: frozenset[str] = frozenset()  # multiplied from the right: output channels are dimension 1
