"""What parts of a model gave, taken over by states that hold the same weights in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar, runtime_checkable

from torch import nn

from razor_cli.weights.live import Acting

T = TypeVar("T")


@runtime_checkable
class Remembering(Protocol):
    """An exam that takes over, by the hash of the weights, what earlier states of the model gave."""

    def forget(self) -> None:
        """Take nothing over from the states measured so far."""
        ...


@dataclass
class TakenOver(Generic[T]):
    """Results by the hash of what gave them, for one model. They are found again only while nothing else
    acts in the model than did when they were made: a hook is no weight, and changes answers all the same.
    """

    module: nn.Module
    more: Callable[[], Sequence[object]] = tuple  # what else takes part in answers, and may be exchanged
    _held: dict[str, tuple[Acting, T]] = field(default_factory=dict, init=False)

    def get(self, key: str, compute: Callable[[], T]) -> T:
        """Return what is held under a key, computing it where it is not."""
        known = self._held.get(key)
        if known is not None and known[0].same(self._acting()):
            return known[1]
        found = compute()
        # Looked at afterwards: libraries put hooks of their own in with the first pass, and leave them.
        self._held[key] = (self._acting(), found)
        return found

    def _acting(self) -> Acting:
        return Acting(self.module, *self.more())

    def forget(self) -> None:
        """Hold nothing any more."""
        self._held.clear()
