"""Masks over single weights by their saliency, and how weights outside of one stay (SalUn)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from razor_cli.contract.family import Named
from razor_cli.dual.desk import Desk
from razor_cli.dual.importance import summed_gradient
from razor_cli.dual.samples import Drawn

MOMENTA = ("momentum_buffer", "exp_avg")  # what SGD and AdamW keep of past gradients


def told(masks: Named) -> str:
    """Return a note on how many weights may move."""
    return (
        f"the mask leaves {sum(int(m.sum()) for m in masks.values())} of "
        f"{sum(m.numel() for m in masks.values())} weights"
    )


def saliency_mask(
    desk: Desk, names: Sequence[str], batch: int, loss: Callable[[Drawn], Tensor], fraction: float
) -> Named:
    """Return, per parameter, True at the weights that may move: the top int(fraction * N) of all N by |sum of
    gradients|.

    The gradient is summed over the whole forget set before its absolute value is taken: sign and scale of the
    loss do not matter.
    """
    if not names:
        return {}
    found = summed_gradient(desk, names, desk.forget, batch, loss)
    return top_fraction({n: g.abs() for n, g in found.items()}, fraction)


def top_fraction(scores: Named, fraction: float) -> Named:
    """Return, per tensor, True at the int(fraction * N) largest of all N scores together; ties are cut to
    that number.
    """
    flat = torch.cat([s.reshape(-1) for s in scores.values()])
    chosen = torch.zeros(len(flat), dtype=torch.bool, device=flat.device)
    chosen[flat.topk(int(fraction * len(flat)), sorted=False).indices] = True
    parts = chosen.split([s.numel() for s in scores.values()])
    return {n: part.view_as(s) for (n, s), part in zip(scores.items(), parts, strict=False)}


class Mask:
    """Keeps weights outside the mask as they are: masked gradients, weights put back, and with `memory` a
    masked momentum too.
    """

    def __init__(self, masks: Named, *, memory: bool = True) -> None:
        self.masks, self.memory = masks, memory
        self.held: Named = {}

    @torch.no_grad()
    def before(self, params: Named) -> None:
        """Multiply gradients by the mask and remember the weights."""
        self.held = {n: p.detach().clone() for n, p in params.items()}
        for name, parameter in params.items():
            if parameter.grad is not None:
                parameter.grad.mul_(self.masks[name])

    @torch.no_grad()
    def after(self, params: Named, optimizer: torch.optim.Optimizer) -> None:
        """Put weights outside the mask back: decay and momentum would move them although their
        gradient is 0.
        """
        for name, parameter in params.items():
            mask = self.masks[name]
            parameter.copy_(torch.where(mask, parameter, self.held[name]))
            for key in MOMENTA if self.memory else ():
                kept = optimizer.state.get(parameter, {}).get(key)
                if isinstance(kept, Tensor):
                    kept.mul_(mask)
