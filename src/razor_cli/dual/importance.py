"""Gradients batch by batch at the weights as they are now, for methods that rank single weights by them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from razor_cli.contract.family import Named
from razor_cli.dual.desk import Desk
from razor_cli.dual.samples import Drawn, Samples


def gradients_over(
    desk: Desk, names: Sequence[str], samples: Samples, size: int, loss: Callable[[Drawn], Tensor]
) -> Iterator[tuple[int, Named]]:
    """Yield (n, gradient of the batch loss for every parameter of `names`) for batches of n pictures in the
    order of the set.
    """
    live = dict(desk.model.module.named_parameters())
    params = [live[n] for n in names]
    done = 0
    for index in samples.ordered(size):
        drawn = samples.take(index)
        with torch.enable_grad():
            value = loss(drawn)
        found = torch.autograd.grad(value, params, allow_unused=True)
        done += len(index)
        desk.lab.cost.forwards += len(index)
        desk.lab.cost.backwards += len(index)
        desk.lab.say(f"gradients: {done} of {len(samples)} pictures")
        yield (
            len(index),
            {
                n: torch.zeros_like(p) if g is None else g
                for n, p, g in zip(names, params, found, strict=True)
            },
        )


def summed_gradient(
    desk: Desk, names: Sequence[str], samples: Samples, size: int, loss: Callable[[Drawn], Tensor]
) -> Named:
    """Return the gradient of the sum over pictures of a loss that is a mean over the pictures of
    its batch.
    """
    total: Named = {}
    for count, gradient in gradients_over(desk, names, samples, size, loss):
        for name, value in gradient.items():
            total[name] = total[name].add_(value, alpha=count) if name in total else value * count
    return total


def importance_sum(
    desk: Desk, names: Sequence[str], samples: Samples, size: int, loss: Callable[[Drawn], Tensor]
) -> tuple[int, Named]:
    """Return the number of batches and the sum over them of the squared gradient of the batch's mean loss
    (diagonal Fisher).
    """
    total: Named = {}
    batches = 0
    for _, gradient in gradients_over(desk, names, samples, size, loss):
        batches += 1
        for name, value in gradient.items():
            total[name] = total[name].addcmul_(value, value) if name in total else value.square()
    return batches, total
