"""Norms, cosines, RAZOR's ratio-aware saliency and the rules that choose components by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.components import Component
from razor_cli.contract.edit import Event


@dataclass(frozen=True, kw_only=True)
class Saliency:
    """What selection knows of one component; norms are Euclidean over the concatenation of its slices."""

    component: Component
    weight_norm: float
    forget_norm: float
    retain_norm: float
    cosine: float  # between g_f and g_r; 0 when either is zero
    phi: float

    def event(self, step: int, action: str) -> Event:
        """Return a line of the edit's log on the component."""
        c = self.component
        return Event(
            step=step,
            action=action,
            component=c.name,
            kind=c.kind,
            tower=str(c.tower),
            phi=self.phi,
            weight_norm=self.weight_norm,
            forget_norm=self.forget_norm,
            retain_norm=self.retain_norm,
            cosine=self.cosine,
        )


def ratio_saliency(
    weight: float, forget: float, cosine: float, *, alpha: float, epsilon: float, power: int
) -> float:
    """Phi = |g_f|^p / (|theta|^p + eps) * (1 - cos)^alpha, RAZOR eq. 2 (p = 1) and Algorithm 1 (p = 2).

    1 - cos is clamped at 0, as rounding makes it slightly negative for aligned gradients.
    """
    return forget**power / (weight**power + epsilon) * max(1 - cosine, 0.0) ** alpha


def measure(
    components: Sequence[Component],
    weights: Mapping[str, Tensor],
    forget: Mapping[str, Tensor],
    retain: Mapping[str, Tensor],
    *,
    alpha: float,
    epsilon: float,
    power: int,
) -> list[Saliency]:
    """Return norms, cosine and phi of every component, in the given order."""
    return [_measure_one(c, weights, forget, retain, alpha, epsilon, power) for c in components]


def _measure_one(
    component: Component,
    weights: Mapping[str, Tensor],
    forget: Mapping[str, Tensor],
    retain: Mapping[str, Tensor],
    alpha: float,
    epsilon: float,
    power: int,
) -> Saliency:
    squares = torch.zeros(4, dtype=torch.float64)  # theta.theta, f.f, r.r, f.r
    for w, f, r in zip(
        component.views(weights), component.views(forget), component.views(retain), strict=True
    ):
        squares += torch.stack([(a * b).sum() for a, b in ((w, w), (f, f), (r, r), (f, r))]).double().cpu()
    weight, g_f, g_r = (float(s) ** 0.5 for s in squares[:3])
    cosine = float(squares[3]) / (g_f * g_r) if g_f > 0 and g_r > 0 else 0.0
    phi = ratio_saliency(weight, g_f, cosine, alpha=alpha, epsilon=epsilon, power=power)
    return Saliency(
        component=component, weight_norm=weight, forget_norm=g_f, retain_norm=g_r, cosine=cosine, phi=phi
    )


def threshold(values: Sequence[float], tau: float, mode: str) -> float:
    """Return the number that a component's score must exceed to be selected (switch A2).

    relative: tau times the largest; absolute: tau; quantile: the tau-quantile; zscore: tau standard
    deviations above the mean; topk: just below the int(tau)-th largest; all: everything.
    """
    scores = torch.tensor(list(values), dtype=torch.float64)
    if mode == "relative":
        return tau * float(scores.max())
    if mode == "absolute":
        return tau
    if mode == "quantile":
        return float(scores.quantile(tau))
    if mode == "zscore":
        return float(scores.mean() + tau * scores.std(unbiased=False))
    if mode == "topk":
        count = min(max(int(tau), 1), len(values))
        return float(scores.sort(descending=True).values[count - 1]) * (1 - 1e-12) - 1e-300
    return -1.0


def select(scores: Sequence[float], tau: float, mode: str, cap: int | None) -> list[int]:
    """Return the indices K = {score > threshold}, best first, at most `cap`; the single best if none exceeds
    it (Algorithm 1).
    """
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    bar = threshold(scores, tau, mode)
    chosen = [i for i in order if scores[i] > bar] or order[:1]
    return chosen if cap is None or mode == "all" else chosen[:cap]


def pareto_front(importance: Sequence[float], alignment: Sequence[float]) -> list[int]:
    """Return the indices that no other one beats in both higher importance and lower alignment, both strictly
    (SLUG).
    """
    return [
        i
        for i in range(len(importance))
        if not any(a < alignment[i] and v > importance[i] for v, a in zip(importance, alignment, strict=True))
    ]
