"""Propositions 3 and 4, on single steps and scores: what a step costs retain pairs, and the law of phi."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from scipy import stats
from torch import Tensor

from razor_cli.contract.components import Component
from razor_cli.engine.saliency import Saliency, measure
from razor_cli.engine.search import norm
from razor_cli.studies.finding import Finding, Outcome, Z, below_zero, variance

EXACT = 1e-5  # relative deviation that rounding of float32 norms explains


def blended(
    forget: Sequence[Tensor], retain: Sequence[Tensor], weight: float, keep: float, normalize: str
) -> list[Tensor]:
    """Return g_RAZOR = -weight g_f + keep g_r of one component at the unedited weights (eq. 7).

    There the signed mismatch on forget pairs is forgetting once more, which belongs into `weight`, and the
    other forms have no gradient. `normalize`: none, unit, or match_retain, as RAZOR's setting of that name.
    """
    f, r = norm(forget), norm(retain)
    scales = {
        "none": (1.0, 1.0),
        "unit": (1 / f if f else 0.0, 1 / r if r else 0.0),
        "match_retain": (r / f if f else 0.0, 1.0),
    }
    to_f, to_r = scales[normalize]
    return [-weight * to_f * a + keep * to_r * b for a, b in zip(forget, retain, strict=True)]


@dataclass(frozen=True, kw_only=True)
class RhoPoint:
    """Losses of each pair before and after one small step at one rho: forget [n], retain [m]."""

    rho: float
    forget_change: Tensor
    retain_change: Tensor


def retention(points: Sequence[RhoPoint], pictures: str, *, bare: bool = False) -> list[Finding]:
    """P3 from a sweep over rho: the slope of the rise of L_r on rho times that of L_f, and whether the first
    stays below. `bare`: each point is one number, which has no interval.
    """
    claim = f"rise of L_r is at most rho x rise of L_f ({pictures})"
    findings, bounds = [], []
    for p in points:
        lift, change = p.rho * p.forget_change.double(), p.retain_change.double()
        margin = float(change.mean() - lift.mean())
        half = Z * math.sqrt(variance(change) / len(change) + variance(lift) / len(lift))
        bounds.append(below_zero(margin - half, margin + half))
        note = f"rise of L_r {float(change.mean()):+.3g}, rho x rise of L_f {float(lift.mean()):+.3g}"
        excess = Finding(
            proposition="P3",
            claim=claim,
            quantity="excess over the bound",
            value=margin,
            low=None if bare else margin - half,
            high=None if bare else margin + half,
            n=len(change),
            unit="" if bare else "loss",
            at=f"rho {p.rho:g}",
            note=note,
        )
        findings.append(excess)
    broken = [p.rho for p, b in zip(points, bounds, strict=True) if b is Outcome.FAILS]
    still = not any(bool(p.retain_change.any()) for p in points)
    kept = all(b is Outcome.HOLDS for b in bounds) and not still
    slope, low, high = line(
        [p.rho * float(p.forget_change.mean()) for p in points],
        [float(p.retain_change.mean()) for p in points],
    )
    if bare:
        low = high = None
    outcome = Outcome.FAILS if broken else Outcome.HOLDS if kept else Outcome.OPEN
    where = "L_r does not feel these steps; " if still else ""
    where += f"broken at rho {', '.join(f'{r:g}' for r in broken)}; " if broken else ""
    total = Finding(
        proposition="P3",
        claim=claim,
        quantity="slope of rise of L_r on rho x rise of L_f",
        value=slope,
        low=low,
        high=high,
        n=len(points),
        outcome=outcome,
        note=f"{where}{sum(b is Outcome.HOLDS for b in bounds)} of {len(points)} rho keep it",
    )
    return [total, *findings]


def line(x: Sequence[float], y: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Return the least-squares slope of y on x with its 95 % t interval; nothing where x does not vary or two
    points are all.
    """
    if len(x) < 3 or statistics.pstdev(x) == 0:
        return None, None, None
    fit = stats.linregress(x, y)
    half = float(stats.t.ppf(0.975, len(x) - 2)) * float(fit.stderr)
    return float(fit.slope), float(fit.slope) - half, float(fit.slope) + half


def scale_law(
    components: Sequence[Component],
    weights: Mapping[str, Tensor],
    forget: Mapping[str, Tensor],
    retain: Mapping[str, Tensor],
    *,
    alpha: float,
    epsilon: float,
    power: int,
    factors: Sequence[float] = (0.5, 3.0),
) -> list[Finding]:
    """P4 over all components: how far phi is from its law when weights, g_f or g_r alone are multiplied by a
    factor.
    """

    def phis(a: float, b: float, c: float) -> list[float]:
        scaled = [
            {n: k * v for n, v in tensors.items()} for k, tensors in ((a, weights), (b, forget), (c, retain))
        ]
        return [s.phi for s in measure(components, *scaled, alpha=alpha, epsilon=epsilon, power=power)]

    plain = phis(1, 1, 1)
    findings = []
    for what, exponent in (("weights", -power), ("g_f", power), ("g_r", 0)):
        worst = 0.0
        for factor in factors:
            moved = phis(*(factor if name == what else 1.0 for name in ("weights", "g_f", "g_r")))
            errors = [abs(m / (p * factor**exponent) - 1) for m, p in zip(moved, plain, strict=True) if p > 0]
            worst = max([worst, *errors])
        found = Finding(
            proposition="P4",
            claim=f"phi goes with {what}^{exponent}, the rest held",
            quantity="largest relative deviation",
            value=worst,
            n=len(components) * len(factors),
            at=what,
            outcome=Outcome.HOLDS if worst < EXACT else Outcome.FAILS,
            note=f"factors {', '.join(map(str, factors))}",
        )
        findings.append(found)
    return findings


def scale_on_model(
    before: Sequence[Saliency], after: Sequence[Saliency], factor: float, power: int
) -> list[Finding]:
    """P4 where a component's weights are multiplied in the model itself and its gradients taken anew.

    The law speaks of phi at a fixed gradient, which a changed weight does not leave fixed; this says how far
    that carries.
    """
    law = factor**-power
    ratios = {b.component.name: a.phi / b.phi for b, a in zip(before, after, strict=True) if b.phi > 0}
    claim = f"phi x {law:g} once weights x {factor:g} in the model, gradients anew"
    rows = [
        Finding(proposition="P4", claim=claim, quantity="phi after over before", value=r, at=name)
        for name, r in ratios.items()
    ]
    if not rows:
        return []
    logs = [math.log(r / law) for r in ratios.values() if r > 0]
    off = math.exp(statistics.median(abs(x) for x in logs)) if logs else math.inf
    outcome = Outcome.HOLDS if logs and max(map(abs, logs)) < math.log(1.05) else Outcome.FAILS
    median = statistics.median(ratios.values())
    total = Finding(
        proposition="P4",
        claim=claim,
        quantity="median of phi after over before",
        value=median,
        low=min(ratios.values()),
        high=max(ratios.values()),
        n=len(rows),
        outcome=outcome,
        note=f"typically off by a factor {off:.2f}; low and high: range",
    )
    return [total, *[replace(row, note=f"law {law:g}") for row in rows]]
