"""An edit while it grows: what has moved, by how much, and the weights it began from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from torch import Tensor

from razor_cli.contract.components import Component, parameters_named
from razor_cli.contract.family import Family

State = tuple[dict[str, Tensor], list[Component], list[Component]]  # values, active and moved components


class Body:
    """Edited values in storage dtype, held in the live parameters; `original` are those of the checkpoint, of
    what has been changed.
    """

    def __init__(self, family: Family) -> None:
        self.family = family
        self.original: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        self.active: list[Component] = []
        self.moved: list[Component] = []

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        """Restore every bit of the model on leaving."""
        try:
            yield
        finally:
            for name, value in parameters_named(self.family, self.original).items():
                value.copy_(self.original[name])

    @property
    def state(self) -> State:
        """Return what `put` brings back."""
        return self.values, self.active, self.moved

    def put(self, state: State) -> list[Component]:
        """Hold another edit of the original weights in place of this one; return the components of both."""
        live = parameters_named(self.family, {**self.values, **state[0]})
        touched = {c.name: c for c in (*self.moved, *state[2])}
        for name in self.values:
            live[name].copy_(self.original[name])
        self.values, self.active, self.moved = state
        for name, value in self.values.items():
            live[name].copy_(value)
        return list(touched.values())

    def take(self, values: Mapping[str, Tensor], components: Sequence[Component] = ()) -> None:
        """Move parameters to `values`, and count `components` among what has moved."""
        live = parameters_named(self.family, values)
        for name, value in values.items():
            if name not in self.original:
                self.original[name] = live[name].clone()
            live[name].copy_(value)
            self.values[name] = value.to(self.family.storage_dtype(name))
        known = {c.name for c in self.moved}
        self.moved += [c for c in components if c.name not in known]

    def scaled(self, share: float) -> dict[str, Tensor]:
        """Return theta_0 plus a share of the edit so far, rounded to the storage dtype."""
        values = {}
        for name, edited in self.values.items():
            base = self.original[name]
            moved = base + share * (edited.to(base.dtype) - base)
            values[name] = moved.to(self.family.storage_dtype(name)).to(base.dtype)
        return values
