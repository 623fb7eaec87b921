"""Losses in the spaces that text encoders share with the image towers that belong to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import RETAIN, Change, Named, Tick
from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets
from razor_cli.dual.named_losses import DualLoss, dual_loss
from razor_cli.families.diffusion.choices import RETAIN_NCE
from razor_cli.families.diffusion.paired import Paired


@dataclass(frozen=True, kw_only=True)
class PairedLoss:
    """A loss of two towers, of each text encoder with its own image tower: the parameters of an encoder have
    the gradient of its own pair.
    """

    losses: Mapping[str, DualLoss]  # by the name of the encoder in the pipeline
    module: Any

    drifts = False  # the mismatch of a model that draws is about what it draws

    @property
    def direction(self) -> Direction:
        """Return which way forgets."""
        return next(iter(self.losses.values())).direction

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        return {"pairs": {name: dict(loss.key) for name, loss in self.losses.items()}}

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the gradients of each pair for the parameters of its encoder among `params`; zeros for all
        others.
        """
        live = dict(self.module.named_parameters())
        wanted = set(params)
        total = {n: torch.zeros_like(p) for n, p in live.items() if n in wanted}
        for name, loss in self.losses.items():
            own = [n for n in total if n.startswith(f"{name}.")]
            if own:
                total |= loss.gradient(part, size, own, tick, chunk=chunk)
        return total

    def anchored(self, base: Change, cache: Any = None) -> PairedLoss:
        """Return the loss itself: pictures and texts are compared with one another."""
        return self


def paired_loss(module: Any, pairs: Mapping[str, Paired], sets: DrawnSets, name: str) -> PairedLoss:
    """Return a loss of two towers by its name in this family."""
    known = RETAIN if name == RETAIN_NCE else name
    sets_: Any = sets  # the names and prompts that these losses read are there under the same names
    return PairedLoss(losses={n: dual_loss(p, sets_, known) for n, p in pairs.items()}, module=module)
