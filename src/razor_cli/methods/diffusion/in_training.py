"""Parameters that train, and what they were: the unedited model is asked without a second copy of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from razor_cli.contract.family import Family


class InTraining:
    """The named parameters of a model as it is now, and their values at this moment."""

    def __init__(self, family: Family, names: Sequence[str]) -> None:
        live = dict(family.module.named_parameters())
        self.live = {n: live[n] for n in names}
        self.base = {n: p.detach().clone() for n, p in self.live.items()}

    @contextmanager
    def unedited(self, wanted: bool = True) -> Iterator[None]:
        """Put the unedited weights in the place of those in training, without copying either."""
        if not wanted:
            yield
            return
        trained = {n: p.data for n, p in self.live.items()}
        try:
            for name, parameter in self.live.items():
                parameter.data = self.base[name]
            yield
        finally:
            for name, parameter in self.live.items():
                parameter.data = trained[name]
