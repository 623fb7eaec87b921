"""Muon: momentum with orthogonalised updates for matrices (Jordan et al., 2024), in fp32 so that CPUs keep
up.

torch.optim.Muon orthogonalises in bfloat16, which is fifteen times slower than fp32 on processors without
bf16 units.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import Parameter


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised per matrix and scaled to the root mean square of an AdamW update."""

    def __init__(
        self, params: Iterable[Parameter], *, lr: float, weight_decay: float = 0.1, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every matrix; a stacked q/k/v projection is treated as three."""
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(p)
                state["momentum"].lerp_(p.grad, 1 - group["momentum"])
                update = p.grad.lerp(state["momentum"], group["momentum"])
                parts = update.chunk(3) if p.shape[0] == 3 * p.shape[1] else [update]
                step = torch.cat([orthogonalized(part) * 0.2 * max(part.shape) ** 0.5 for part in parts])
                p.mul_(1 - group["lr"] * group["weight_decay"]).add_(step, alpha=-group["lr"])


def orthogonalized(matrix: Tensor, steps: int = 5) -> Tensor:
    """Return the nearest semi-orthogonal matrix, roughly, by a quintic Newton-Schulz iteration."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.T if tall else x
