"""The direction a component moves along: forget, retain and mismatch gradients in one (RAZOR eq. 7)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.components import Component
from razor_cli.contract.family import Loss, Named
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import Saliency
from razor_cli.engine.search import norm
from razor_cli.methods.razor_choices import Conflict, MismatchAt, MismatchForm, MismatchSet, Normalize, Sign
from razor_cli.methods.razor_settings import RazorSettings

# Pairs the squared and absolute mismatch are measured on; their gradient is taken anew at each step.
DRIFT_PAIRS = 512
BATCH = 128


def without_conflict(forget: Sequence[Tensor], retain: Sequence[Tensor], sign: float) -> list[Tensor]:
    """Return the forget gradient without its part along the retain gradient, where a step of `sign` times it,
    subtracted, would raise the retain loss to first order.
    """
    squared = norm(retain) ** 2
    along = sum(float((f.double() * r.double()).sum()) for f, r in zip(forget, retain, strict=True))
    if squared == 0 or sign * along >= 0:
        return [*forget]
    return [f - (along / squared) * r for f, r in zip(forget, retain, strict=True)]


class Blend:
    """Blends gradients as a method's settings say. `base`, where asked for: theta_0 of every tensor changed
    so far.
    """

    def __init__(self, method: RazorSettings, lab: Lab) -> None:
        self.method, self.lab = method, lab
        self._drifts: dict[str, Loss] = {}

    @property
    def loss(self) -> Loss:
        """Return the forget loss of the attempt."""
        return self.lab.family.loss(self.method.forget_loss, self.lab.sets)

    def direction(
        self, s: Saliency, forget: Named, retain: Named, base: Mapping[str, Tensor], moved: bool = False
    ) -> list[Tensor]:
        """Return g_RAZOR = -lambda_f rho g_f + lambda_r g_r + lambda_m grad L_m of one component (eq. 7).

        `moved`: the weights have changed since `forget` and `retain` were taken.
        """
        c = s.component
        g_f, g_r = c.views(forget), c.views(retain)
        return self.blended(s, g_f, g_r, self.mismatch_gradient(c, g_f, base, moved))

    def blended(
        self, s: Saliency, g_f: Sequence[Tensor], g_r: Sequence[Tensor], g_m: Sequence[Tensor] = ()
    ) -> list[Tensor]:
        """Return the three gradients of one component in one, each scaled as the settings say; none of the
        mismatch: the other two.
        """
        m, sign = self.method, self.sign()
        if m.retain_conflict is Conflict.PROJECT:
            g_f = without_conflict(g_f, g_r, sign)
        parts = [(g_f, m.lambda_forget * m.rho), (g_r, m.lambda_retain), (g_m, m.lambda_mismatch)]
        total = [torch.zeros_like(v) for v in g_f]
        for (views, weight), direction in zip(parts, (sign, 1.0, 1.0), strict=True):
            length = norm(views) if views else 0.0
            if weight == 0 or length == 0:
                continue
            scale = {
                Normalize.NONE: 1.0,
                Normalize.UNIT: 1 / length,
                Normalize.MATCH_RETAIN: s.retain_norm / length,
            }[m.normalize]
            for out, view in zip(total, views, strict=True):
                out.add_(view, alpha=direction * weight * scale)
        return total

    def sign(self) -> float:
        """Return the weight of g_f in the blend, which a step subtracts: -1 ascends the forget loss."""
        if self.method.forget_direction is Sign.AUTO:
            return -1.0 if self.loss.direction is Direction.UP else 1.0
        return -1.0 if self.method.forget_direction is Sign.ASCEND else 1.0

    def mismatch_gradient(
        self,
        component: Component,
        g_f: Sequence[Tensor],
        base: Mapping[str, Tensor],
        moved: bool = False,
    ) -> list[Tensor]:
        """Return grad L_m of one component (eq. 6). Signed drift on D_f has gradient -g_f where the forget
        loss is the pairs' own; the other forms have none at theta_0.

        g_f is that of the weights as they are, unless they have `moved` since it was taken: then mismatch_at
        says whether it serves nevertheless, or is taken anew over all forget pairs (Algorithm 1, stage two).
        """
        m = self.method
        if m.lambda_mismatch == 0 or (not base and m.mismatch_form is not MismatchForm.SIGNED):
            return [torch.zeros_like(v) for v in g_f]
        plain = (m.mismatch_form, m.mismatch_set) == (MismatchForm.SIGNED, MismatchSet.FORGET)
        sets = self.lab.sets
        if plain and self.loss.drifts:
            if moved and m.mismatch_at is MismatchAt.CURRENT:
                params, tick = component.params, self.lab.tick
                now = self.loss.gradient(
                    sets.forget, m.forget_batch, params, tick, chunk=self.lab.chunk(BATCH)
                )
                g_f = component.views(now)
            return [-v for v in g_f]
        parts = {"forget": [sets.forget], "retain": [sets.retain], "both": [sets.forget, sets.retain]}
        drift = self._anchored(base)
        found = [
            component.views(
                drift.gradient(
                    p.head(DRIFT_PAIRS), BATCH, component.params, self.lab.tick, chunk=self.lab.chunk(BATCH)
                )
            )
            for p in parts[m.mismatch_set.value]
        ]
        return [torch.stack(views).mean(0) for views in zip(*found, strict=True)]

    def _anchored(self, base: Mapping[str, Tensor]) -> Loss:
        """Return the mismatch loss against theta_0; `base` restores it from the weights as they are now."""
        name = f"mismatch_{self.method.mismatch_form.value}"
        if name not in self._drifts:
            plain = self.lab.family.loss(name, self.lab.sets)
            self._drifts[name] = plain.anchored(Weights(values=dict(base)), self.lab.cache)
        return self._drifts[name]
