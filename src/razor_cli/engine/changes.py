"""Changes of a model's own weights, and the random control of any of them."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from razor_cli.contract.components import parameters_named, swapped
from razor_cli.contract.family import WEIGHTS, Family


@dataclass(frozen=True, kw_only=True)
class Weights:
    """New values of some parameters, in the dtype their file stores. None: the null change."""

    kind: ClassVar[str] = WEIGHTS

    values: Mapping[str, Tensor] = field(default_factory=dict)

    def held(self, family: Family) -> AbstractContextManager[None]:
        """Hold the values in place of the parameters' own."""
        return swapped(family, self.values)

    def random_like(self, family: Family, seed: int) -> Weights:
        """Return a change of the same entries and, per tensor, the same norm: what size alone does.

        The draw depends on the seed and each tensor's name only, so it is the same whatever else was edited.
        """
        live = parameters_named(family, self.values)
        control = {}
        for name, new in self.values.items():
            delta = new.to(live[name].dtype) - live[name]
            drawn = zlib.crc32(f"{seed}/{name}".encode())  # torch looks at the low 32 bits of a seed only
            generator = torch.Generator().manual_seed(drawn)
            noise = torch.randn(delta.shape, generator=generator).to(delta) * (delta != 0)
            size = noise.norm()
            moved = live[name] + (noise * (delta.norm() / size) if size > 0 else noise)
            control[name] = moved.to(new.dtype)
        return Weights(values=control)

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the values."""
        return self.values
