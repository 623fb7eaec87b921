"""The losses of a model with two towers by name, with their gradients: what a lab hands to methods.

Forget losses are written so that ascending them forgets. `retain` is the contrastive loss of retain pairs
(InfoNCE, or the sigmoid loss of a model with a bias); the three mismatch losses compare pairs' cosines with
those under the unedited weights.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import RETAIN, Change, Named, Tick
from razor_cli.contract.strata import ListedBatch
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.gradients import PictureLoss, batches, bounds, retain_loss, set_gradient
from razor_cli.dual.losses import (
    concept_cross_entropy,
    concept_margin,
    concept_neutral,
    concept_runner_up,
    concept_uniform,
    forget_cosine,
    mismatch,
    pair_cosines,
)
from razor_cli.dual.view import DualEncoder
from razor_cli.errors import ConfigError, nearest

COSINE = "cosine"
HEAD_LOSSES = {  # over the zero-shot head
    "concept_ce": concept_cross_entropy,
    "concept_uniform": concept_uniform,
    "concept_margin": concept_margin,
    "concept_runner_up": concept_runner_up,
    "concept_neutral": concept_neutral,
}
NEUTRAL = ("concept_neutral",)  # of these, the head has a prompt more, which names nobody
MISMATCH = "mismatch_"  # mismatch_signed, mismatch_squared, mismatch_abs
FORMS = ("signed", "squared", "abs")
NAMES = (COSINE, *HEAD_LOSSES, RETAIN, *(MISMATCH + f for f in FORMS))


@dataclass(frozen=True, kw_only=True)
class DualLoss:
    """One named loss of a model and its sets; a pass counts pictures by `tick`."""

    model: DualEncoder
    sets: ConceptSets
    name: str
    base: Change | None = None  # of an anchored loss: the unedited weights
    _anchors: dict[str, Tensor] = field(default_factory=dict, repr=False)  # cosines under `base`, by part

    @property
    def direction(self) -> Direction:
        """Return which way forgets."""
        return Direction.UP

    @property
    def drifts(self) -> bool:
        """Tell whether minus the loss is the pairs' mean cosine, up to a constant."""
        return self.name == COSINE

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        parts: dict[str, object] = {"name": self.name, "scale": self.model.scale}
        if self.model.bias is not None:
            parts |= {"bias": self.model.bias}
        if self.name in HEAD_LOSSES:
            parts |= {"prompts": self.sets.prompts, "classes": self.sets.class_names}
        if self.name in NEUTRAL:
            parts |= {"neutral": self.sets.generic_prompt}
        return parts | ({"joint": self.sets.joint} if len(self.sets.joint) > 1 else {})

    def anchored(self, base: Change, cache: Any = None) -> DualLoss:
        """Return the mismatch against the pairs' cosines under `base`."""
        return replace(self, base=base, _anchors={})

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the mean over batches of `size` pairs of the batch gradients for `params`."""
        if self.name.startswith(MISMATCH):
            return self._drift(part, size, params, tick, chunk)
        if self.name in HEAD_LOSSES:
            return self._concept(part, size, params, tick, chunk)
        mean = self.name == COSINE
        loss = PictureLoss(forget_cosine) if mean else retain_loss(self.model.scale, self.model.bias)
        return set_gradient(self.model, part, loss, size, chunk, _both(tick), only=params)

    def batches(self, part: Pairs, size: int) -> list[ListedBatch]:
        """Return the batches that `gradient` takes its mean over. Raises ConfigError for pictures that
        are cropped at random: how depends on their place in the part.
        """
        if part.crops is not None:
            raise ConfigError(
                "method.gradient: pictures that are cropped at random cannot be taken in parts",
                allowed="full",
                found="adaptive",
                fix="method.gradient=full",
            )
        by_concept = self.name in HEAD_LOSSES and len(self.sets.forget_names) > 1
        found = []
        for own in map(part.of, self.sets.forget_names) if by_concept else (part,):
            cuts = [replace(own, pictures=own.pictures[a:b]) for a, b in bounds(len(own), size)]
            weight = len(own) / len(part) / len(cuts) if cuts else 0.0
            found += [ListedBatch(part=cut, weight=weight, concepts=cut.concepts) for cut in cuts]
        return found

    def _concept(self, part: Pairs, size: int, params: Collection[str], tick: Tick, chunk: int) -> Named:
        """Return the gradient of a loss over the zero-shot head; of several concepts, the mean over all their
        pictures.
        """
        more = [self.sets.generic_prompt] if self.name in NEUTRAL else []
        prompts = [*(self.sets.prompts[n] for n in self.sets.class_names), *more]
        names, scale, total = self.sets.forget_names, self.model.scale, Named()
        for target, name in enumerate(names):
            own = part if len(names) == 1 else part.of(name)
            if not len(own):
                continue

            def loss(images: Tensor, texts: Tensor, target: int = target) -> Tensor:
                return HEAD_LOSSES[self.name](images, texts, target, scale, len(names))

            mean = PictureLoss(loss, prompts)
            found = set_gradient(self.model, own, mean, size, chunk, _both(tick), only=params)
            share = len(own) / len(part)
            if len(names) == 1:
                return found
            for n in list(found):
                mine = found.pop(n).mul_(share)
                total[n] = mine.add_(total[n]) if n in total else mine
        return total

    def _drift(self, part: Pairs, size: int, params: Collection[str], tick: Tick, chunk: int) -> Named:
        """Return the gradient of the pairs' mismatch, against their cosines under the unedited weights."""
        if self.base is None:
            raise RuntimeError(f"{self.name} compares with the unedited weights: it must be anchored")
        print_ = part.fingerprint()
        if print_ not in self._anchors:
            self._anchors[print_] = self._base_cosines(part, tick, chunk)
        before, position, form = self._anchors[print_], 0, self.name.removeprefix(MISMATCH)

        def loss(images: Tensor, texts: Tensor) -> Tensor:
            nonlocal position
            now = before[position : position + len(images)]
            position += len(images)
            return mismatch(pair_cosines(images, texts), now, form)

        return set_gradient(self.model, part, PictureLoss(loss), size, chunk, _both(tick), only=params)

    def _base_cosines(self, part: Pairs, tick: Tick, chunk: int) -> Tensor:
        assert self.base is not None
        with torch.no_grad(), self.base.held(self.model):  # type: ignore[arg-type]
            rows = [
                pair_cosines(self.model.encode_image(b.pixels[:]), b.texts(self.model.encode_text(b.tokens)))
                for b in batches(self.model, part, chunk)
            ]
        tick(len(part), 0)
        return torch.cat(rows)


def _both(tick: Tick) -> Callable[[int], None]:
    return lambda count: tick(count, count)


def dual_loss(model: DualEncoder, sets: ConceptSets, name: str) -> DualLoss:
    """Return a loss by name. Raises ConfigError that lists the names there are."""
    if name not in NAMES:
        near = nearest(name, NAMES)
        raise ConfigError(
            f"method.forget_loss: there is no loss '{name}'",
            allowed=", ".join((COSINE, *HEAD_LOSSES)),
            found=name,
            fix=f"did you mean {near[0]}?" if near else None,
        )
    return DualLoss(model=model, sets=sets, name=name)
