"""The direction a component moves along: forget, retain and mismatch gradients in one (RAZOR eq. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from razor_cli.contract.components import Component, swapped
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.gradients import Named, batches, set_gradient
from razor_cli.dual.losses import mismatch, pair_cosines
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import Saliency
from razor_cli.engine.search import norm
from razor_cli.families.clip.family import Clip

if TYPE_CHECKING:
    from razor_cli.methods.razor import Razor

DRIFT_PAIRS = (
    512  # pairs the squared and absolute mismatch are measured on; their gradient is taken anew at each step
)


class Blend:
    """Blends gradients as a method's settings say. `base`, where asked for: theta_0 of every tensor changed
    so far.
    """

    def __init__(self, method: Razor, model: Clip, sets: ConceptSets, lab: Lab) -> None:
        self.method, self.model, self.sets, self.lab = method, model, sets, lab
        self._anchors: dict[str, Tensor] = {}

    def direction(
        self, s: Saliency, forget: Named, retain: Named, base: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return g_RAZOR = -lambda_f rho g_f + lambda_r g_r + lambda_m grad L_m of one component (eq. 7)."""
        m, c = self.method, s.component
        g_f, g_r = c.views(forget), c.views(retain)
        g_m = self.mismatch_gradient(c, g_f, base)
        parts = [(g_f, m.lambda_forget * m.rho), (g_r, m.lambda_retain), (g_m, m.lambda_mismatch)]
        sign = 1.0 if m.forget_direction.value == "descend" else -1.0
        total = [torch.zeros_like(v) for v in g_f]
        for (views, weight), direction in zip(parts, (sign, 1.0, 1.0), strict=True):
            length = norm(views)
            if weight == 0 or length == 0:
                continue
            scale = {"none": 1.0, "unit": 1 / length, "match_retain": s.retain_norm / length}[
                m.normalize.value
            ]
            for out, view in zip(total, views, strict=True):
                out.add_(view, alpha=direction * weight * scale)
        return total

    def mismatch_gradient(
        self, component: Component, g_f: Sequence[Tensor], base: Mapping[str, Tensor]
    ) -> list[Tensor]:
        """Return grad L_m of one component. Signed drift on D_f has gradient -g_f; the other forms have none
        at theta_0.
        """
        m = self.method
        if m.lambda_mismatch == 0 or (not base and m.mismatch_form.value != "signed"):
            return [torch.zeros_like(v) for v in g_f]
        if (m.mismatch_form.value, m.mismatch_set.value, m.forget_loss.value) == (
            "signed",
            "forget",
            "cosine",
        ):
            return [-v for v in g_f]
        pairs = {
            "forget": [self.sets.forget],
            "retain": [self.sets.retain],
            "both": [self.sets.forget, self.sets.retain],
        }
        chosen = pairs[m.mismatch_set.value]
        found = [
            self.drift_gradient(Pairs(p.pictures[:DRIFT_PAIRS], p.sources), component, base) for p in chosen
        ]
        return [torch.stack(views).mean(0) for views in zip(*found, strict=True)]

    def drift_gradient(self, pairs: Pairs, component: Component, base: Mapping[str, Tensor]) -> list[Tensor]:
        """Return the mismatch gradient over some pairs, against their cosines at theta_0."""
        key = pairs.fingerprint()
        if key not in self._anchors:
            self._anchors[key] = self._base_cosines(pairs, base)
        before, position = self._anchors[key], 0

        def loss(images: Tensor, texts: Tensor) -> Tensor:
            nonlocal position
            part = before[position : position + len(images)]
            position += len(images)
            return mismatch(pair_cosines(images, texts), part, self.method.mismatch_form.value)

        def tick(count: int) -> None:
            self.lab.cost.forwards += count
            self.lab.cost.backwards += count

        return component.views(set_gradient(self.model, pairs, loss, 128, 128, tick))

    def _base_cosines(self, pairs: Pairs, base: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad(), swapped(self.model, dict(base)):
            parts = [
                pair_cosines(self.model.encode_image(b.pixels), self.model.encode_text(b.tokens)[b.rows])
                for b in batches(self.model, pairs, 128)
            ]
        self.lab.cost.forwards += len(pairs)
        return torch.cat(parts)
