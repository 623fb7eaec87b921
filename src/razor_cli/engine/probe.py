"""What a computation holds in memory at once, seen from one that is small."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Collection, Iterator
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from razor_cli.contract.budget import AT_ONCE, LARGE_EACH, Budget, large_blocks_apart
from razor_cli.contract.family import Loss
from razor_cli.contract.sets import Part


class _BackwardError(Exception):
    """Raised where a pass backward begins: until then everything has been held that it needs."""


class Watch(TorchDispatchMode):
    """Counts the bytes of the tensors that are made inside, as long as they live: `peak` is the most of them.

    What was there before, such as weights, does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = self.peak = 0
        self._known: dict[int, int] = {}  # storages: where they lie, and their bytes

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Keep torch from loading its compiler, which it would do to leave this class out of it."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        foreign = {s.data_ptr() for s in map(_storage, _tensors((args, kwargs)))}
        found = func(*args, **kwargs)
        for tensor in _tensors(found):
            storage = _storage(tensor)
            place = storage.data_ptr()
            if place and place not in foreign and place not in self._known:
                self._known[place] = storage.nbytes()
                self.live += storage.nbytes()
                weakref.finalize(storage, self._gone, place)
        self.peak = max(self.peak, self.live)
        return found

    def _gone(self, place: int) -> None:
        self.live -= self._known.pop(place, 0)


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        if values.layout == torch.strided:
            yield values
    elif isinstance(values, tuple | list | dict):
        for value in values.values() if isinstance(values, dict) else values:
            yield from _tensors(value)


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()


def _refuse(_held: Tensor) -> Tensor:
    raise _BackwardError


def held_by(compute: Callable[[], object]) -> int:
    """Return the most bytes that a computation holds before it begins a pass backward, or ends; none of it is
    held afterwards.
    """
    # An output that its own step keeps, as a sigmoid does, would hold itself for ever if not detached.
    hooks = torch.autograd.graph.saved_tensors_hooks(torch.Tensor.detach, _refuse)
    with Watch() as watch, hooks:
        try:
            compute()
        except _BackwardError as stopped:
            clear_frames(stopped.__traceback__)  # they hold the graph until cycles are looked for
    return watch.peak


def gradient_fit(
    budget: Budget,
    what: str,
    loss: Loss,
    part: Part,
    params: Collection[str],
    *,
    held: int,
    most: int,
    keeps: int = 0,
) -> int:
    """Return how many examples of a part a loss's gradient may take at once, by what one and two of them
    hold.

    `held` are the bytes that gradients will take, `keeps` how often what is kept for the next time will be
    full. Raises as `Budget.fit` does.
    """
    if what in budget.fits:
        return budget.fit(what, 0, 0, most=most)

    def seen(count: int) -> int:
        few = part.widest(count)
        return held_by(lambda: loss.gradient(few, count, params, lambda *_: None, chunk=count))

    each, fixed = _told(seen, len(part))
    if each >= LARGE_EACH:
        large_blocks_apart()
    return budget.fit(what, each, fixed, held=held, most=most, keeps=keeps)


def _told(seen: Callable[[int], int], count: int) -> tuple[int, int]:
    """Return what each example holds and what all hold together, from what one and two of them do."""
    one = seen(1)
    each = max(0, seen(2) - one) if count > 1 else 0
    each = each or one  # two that were not taken together, or one alone, tell no more than that
    return each, one - min(one, each)


def rows_fit(
    budget: Budget | None,
    what: str,
    encode: Callable[[Tensor], Tensor],
    rows: Any,
    *,
    backward: bool = False,
    held: int = 0,
) -> int:
    """Return how many rows of inputs may go through an encoder at once, with a pass backward behind it or
    without gradients. `rows` are a tensor, or what gives one for a slice.
    """
    if budget is None or budget.total is None or not len(rows):
        return AT_ONCE
    width = math.prod(rows.shape[1:]) if isinstance(rows, Tensor) else 0  # texts are as long as the longest
    if what in budget.fits:
        if width <= budget.widths.get(what, 0):
            return budget.fit(what, 0, 0)
        del budget.fits[what]
    budget.widths[what] = width

    def seen(count: int) -> int:
        few = rows[:count]
        with torch.set_grad_enabled(backward):
            return held_by(lambda: encode(few))

    each, fixed = _told(seen, len(rows))
    return budget.fit(what, each, fixed, held=held)
