"""Changes of a model's own weights, and the random control of any of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from razor_cli.contract.components import parameters_named, swapped
from razor_cli.contract.family import RUNTIME, WEIGHTS, Change, Family
from razor_cli.errors import ConfigError


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


@dataclass(frozen=True)
class AtRunTimeTogether:
    """Several things that are done at run time, each on top of those before it."""

    kind: ClassVar[str] = RUNTIME

    parts: tuple[Change, ...]

    @contextmanager
    def held(self, family: Family) -> Iterator[None]:
        """Hold all of them, the first one innermost."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.enter_context(part.held(family))
            yield

    def random_like(self, family: Family, seed: int) -> Change | str:
        """Say why there is none."""
        return "what is done at run time has no size that a random change could share"

    def tensors(self) -> Mapping[str, Tensor]:
        """Return nothing."""
        return {}


def then(first: Change, second: Change) -> Change:
    """Return what holds both changes, the second made on top of the first. Raises ConfigError for kinds of
    change of which a model holds one.
    """
    if first.kind == WEIGHTS and not first.tensors():
        return second
    if second.kind == WEIGHTS and not second.tensors():
        return first
    if first.kind == second.kind == WEIGHTS:
        return Weights(values={**first.tensors(), **second.tensors()})
    if first.kind == second.kind == RUNTIME:
        before = first.parts if isinstance(first, AtRunTimeTogether) else (first,)
        return AtRunTimeTogether((*before, second))
    raise not_together(f"{first.kind} and {second.kind}")


def not_together(found: str) -> ConfigError:
    """Return the refusal of changes of which a model holds one."""
    return ConfigError(
        "changes of several targets cannot be put together: a patch holds weights, or one adapter",
        allowed="methods that change weights, or act at run time",
        found=found,
        fix="leave sequence and compose out: one edit of all targets together",
    )
