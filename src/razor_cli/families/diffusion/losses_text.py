"""Losses on what prompts become: no picture is needed, and no pass through the net.

anchor: the target's prompts should become what the anchor becomes. drift: prompts that stay should become
what they became. concept_head: a linear head should no longer see the concept in a prompt (RAZOR eq. 9).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import Change, Named, Tick
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.head import OTHER, ConceptHead, fit_head

ANCHOR, DRIFT, CONCEPT_HEAD = "anchor", "drift", "concept_head"
Unedited = Callable[[Sequence[str]], Context]
Rows = Callable[[Sequence[str]], Tensor]  # prompts -> the loss of each [n]; differentiable


def distances(now: Context, then: Context) -> Tensor:
    """Return the mean squared distance of each context [n]: that of the vectors of its tokens, plus that of
    the vector of the whole prompt where there is one.
    """
    pairs = zip(now.parts(), then.parts(), strict=True)
    return torch.stack([(a - b).square().flatten(1).mean(dim=1) for a, b in pairs]).sum(dim=0)


@dataclass(frozen=True, kw_only=True)
class TextLoss:
    """The mean of a loss over prompts of the sets; the part that is asked for plays no role."""

    name: str
    denoiser: Denoiser
    prompts: tuple[str, ...]
    rows: Rows
    beside: Mapping[str, object] = field(default_factory=dict)  # what else the loss depends on

    direction = Direction.DOWN  # retain losses have no other way either
    drifts = False

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights."""
        return {"name": self.name, "prompts": self.prompts, "tail": self.denoiser.tail, **self.beside}

    def gradient(
        self, part: Any, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the gradient of the mean over all prompts for `params`, `chunk` of them at once."""
        at_once = max(1, min(size, chunk))
        with self.denoiser.asking(params) as live, torch.enable_grad():
            total = {n: torch.zeros_like(p) for n, p in live.items()}
            for start in range(0, len(self.prompts), at_once):
                value = self.rows(self.prompts[start : start + at_once]).sum() / len(self.prompts)
                found = torch.autograd.grad(value, list(live.values()), allow_unused=True)
                for name, gradient in zip(live, found, strict=True):
                    if gradient is not None:
                        total[name] += gradient
        return total

    def anchored(self, base: Change, cache: Any = None) -> TextLoss:
        """Return the loss itself: what it compares with are the unedited weights already."""
        return self


def anchor_loss(
    denoiser: Denoiser, unedited: Unedited, prompts: Sequence[str], anchors: Sequence[str]
) -> TextLoss:
    """Return the distance of prompts' contexts from those of their anchors under the unedited weights."""
    anchor_of = dict(zip(prompts, anchors, strict=True))

    def rows(part: Sequence[str]) -> Tensor:
        then = unedited([anchor_of[p] for p in part])
        return distances(denoiser.encode(part), then)

    beside = {"anchors": tuple(anchors)}
    return TextLoss(name=ANCHOR, denoiser=denoiser, prompts=tuple(prompts), rows=rows, beside=beside)


def drift_loss(denoiser: Denoiser, unedited: Unedited, prompts: Sequence[str]) -> TextLoss:
    """Return the distance of prompts' contexts from what they were under the unedited weights, where its
    gradient is zero.
    """

    def rows(part: Sequence[str]) -> Tensor:
        then = unedited(part)
        return distances(denoiser.encode(part), then)

    return TextLoss(name=DRIFT, denoiser=denoiser, prompts=tuple(prompts), rows=rows)


def head_loss(
    denoiser: Denoiser,
    frozen: Callable[[Sequence[str]], Tensor],
    prompts: Sequence[str],
    others: Sequence[str],
) -> TextLoss:
    """Return the cross-entropy of a head towards `other`, which falls as the concept goes. The head is fit to
    `frozen` vectors of prompts, those of the unedited encoder.
    """
    held: list[ConceptHead] = []  # fit when it is first asked for

    def rows(part: Sequence[str]) -> Tensor:
        if not held:
            held.append(fit_head(frozen(prompts), frozen(others)))
        logits = held[0](denoiser.pooled(part))
        return F.cross_entropy(
            logits, torch.full((len(part),), OTHER, device=logits.device), reduction="none"
        )

    return TextLoss(
        name=CONCEPT_HEAD,
        denoiser=denoiser,
        prompts=tuple(prompts),
        rows=rows,
        beside={"others": tuple(others)},
    )
