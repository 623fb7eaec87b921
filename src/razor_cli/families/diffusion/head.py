"""A linear head that tells prompts of a concept from others by the vector of the whole prompt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CONCEPT, OTHER = 0, 1  # its classes
DECAY = 1e-2  # keeps the head finite: prompts that it can part, it could part ever more sharply
STEPS = 100
LEAST = 0.01  # of the largest spread: what hardly varies is not blown up


@dataclass(frozen=True)
class ConceptHead:
    """Logits [n, 2] of vectors [n, d], which are centred and scaled first."""

    mean: Tensor
    spread: Tensor
    weight: Tensor  # [2, d]
    bias: Tensor

    def __call__(self, vectors: Tensor) -> Tensor:
        """Return the logits of concept and other."""
        held = (vectors.float() - self.mean) / self.spread
        return held @ self.weight.T + self.bias


def fit_head(concept: Tensor, other: Tensor) -> ConceptHead:
    """Return the head of least cross-entropy between vectors of the concept [n, d] and others [m, d], each
    side weighing the same; nothing is drawn at random.
    """
    both = torch.cat([concept, other]).detach().double()
    labels = torch.tensor([CONCEPT] * len(concept) + [OTHER] * len(other), device=both.device)
    share = torch.tensor([0.5 / len(concept)] * len(concept) + [0.5 / len(other)] * len(other)).to(both)
    mean, spread = both.mean(dim=0), both.std(dim=0)
    spread = spread.clamp_min(LEAST * float(spread.max()))
    held = (both - mean) / spread
    weight = torch.zeros(2, both.shape[1], dtype=torch.float64, device=both.device, requires_grad=True)
    bias = torch.zeros(2, dtype=torch.float64, device=both.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        each = F.cross_entropy(held @ weight.T + bias, labels, reduction="none")
        value = (each * share).sum() + DECAY * weight.square().sum()
        value.backward()
        return value

    with torch.enable_grad():
        optimizer.step(closure)
    return ConceptHead(mean.float(), spread.float(), weight.detach().float(), bias.detach().float())
