"""Parameters owned by named components: how methods see a model, whatever library built it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Slice:
    """A contiguous part of one named parameter: indices start:stop of dimension dim, or all of it
    (dim None).
    """

    param: str
    dim: int | None = None
    start: int = 0
    stop: int = 0

    def of(self, tensor: Tensor) -> Tensor:
        """Return the view of `tensor` that this slice owns."""
        return tensor if self.dim is None else tensor.narrow(self.dim, self.start, self.stop - self.start)


@dataclass(frozen=True)
class Component:
    """A named set of parameter slices that is scored and edited as one: an attention head, an MLP, a block, a
    tensor.
    """

    name: str  # visual.3.head2, text.0.mlp, or a parameter's own name
    kind: str  # head | mlp | attn | block | tensor
    tower: str  # vision, text, or what else a family calls its parts
    # Block index inside its tower; -1 for what enters block 0, n_layers for what follows the last block.
    layer: int
    slices: tuple[Slice, ...] = field(repr=False)

    def views(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Return this component's views into a mapping of full tensors, in slice order."""
        return [s.of(tensors[s.param]) for s in self.slices]

    def vector(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Return the concatenation of this component's slices as one vector (a copy)."""
        import torch

        return torch.cat([v.reshape(-1) for v in self.views(tensors)])

    @property
    def params(self) -> tuple[str, ...]:
        """Names of the parameters that this component touches."""
        return tuple(dict.fromkeys(s.param for s in self.slices))


class Moduled(Protocol):
    """Anything with a module whose parameters have names."""

    @property
    def module(self) -> nn.Module:
        """Return the module."""
        ...


def parameters(model: Moduled) -> dict[str, Tensor]:
    """Return the live parameters by name, without gradient tracking on the views."""
    return {name: p.data for name, p in model.module.named_parameters()}


def parameters_named(model: Moduled, names: Iterable[str]) -> dict[str, Tensor]:
    """Return some of the live parameters, without a walk through the whole module."""
    return {name: model.module.get_parameter(name).data for name in names}


def swapped(model: Moduled, values: Mapping[str, Tensor]) -> AbstractContextManager[None]:
    """Hold `values` in place of the named parameters, and restore the exact former bits on leaving."""
    return replaced(model, values, lambda name, _: values[name])


@contextmanager
def replaced(model: Moduled, names: Iterable[str], value: Callable[[str, Tensor], Tensor]) -> Iterator[None]:
    """Hold what `value` makes of each named parameter in its place, one after the other, and restore the
    exact former bits on leaving.
    """
    live = parameters_named(model, names)
    undo: dict[str, Tensor] = {}
    try:
        for name, held in live.items():
            new = value(name, held)
            undo[name] = held.clone()
            held.copy_(new)
        yield
    finally:
        for name, former in reversed(undo.items()):  # two names may be one tensor
            live[name].copy_(former)


def home_of(components: Iterable[Component]) -> dict[str, str]:
    """Return the tower of every parameter that the components own."""
    return {param: component.tower for component in components for param in component.params}
