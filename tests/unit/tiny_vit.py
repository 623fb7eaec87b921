"""A network in place of the benchmark's ViT-L, for checkpoints of its layout."""

from __future__ import annotations

import torch


class TinyVit(torch.nn.Module):
    """Stands in for ViT-L: the same names, one layer."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.head = torch.nn.Linear(1024, count)
        self.seen = torch.nn.Parameter(torch.zeros(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit per label from the mean colour."""
        mean: torch.Tensor = x.mean((2, 3)).repeat(1, 342)[:, :1024]
        out: torch.Tensor = self.head(mean)
        return out
