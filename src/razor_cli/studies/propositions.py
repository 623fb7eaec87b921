"""The RAZOR paper's four propositions as measurements: pure functions from weights, gradients and metrics to
findings.

The reference quotes only the formula of Proposition 4; what the others claim is taken as follows, and each
finding says it. P1 minimality: without the change of any one component of K the finished edit misses its
Target. P2 forgetting: the similarity of forget pairs ends below where it began, and below that of retain
pairs. P3 retention: a step along the blended direction raises the retain loss by at most rho times what it
adds to the forget loss. P4 scale law: phi grows with |g_f|^p, falls with |theta|^p, and does not depend on
|g_r|.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from scipy import stats
from torch import Tensor

from razor_cli.contract.components import Component
from razor_cli.engine.saliency import Saliency, measure
from razor_cli.engine.search import Aim, Metrics, norm

Z = 1.959963984540054  # 97.5 % quantile of the normal distribution
EXACT = 1e-5  # relative deviation that rounding of float32 norms explains


class Outcome(StrEnum):
    """What the numbers say of a claim."""

    HOLDS = "HOLDS"
    FAILS = "DOES NOT HOLD"
    OPEN = "UNDECIDED"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One number, and for a claim as a whole its outcome. `at`: the component, rho or set that the number
    belongs to.
    """

    proposition: str  # P1 to P4
    claim: str
    quantity: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 1
    unit: str = ""
    at: str = ""
    outcome: Outcome | None = None  # of the whole claim; None: a number behind it
    note: str = ""


# P1 ---------------------------------------------------------------------------------------------------------
# ---------


def without_each(
    base: Mapping[str, Tensor], edited: Mapping[str, Tensor], components: Sequence[Component]
) -> Iterator[tuple[Component, dict[str, Tensor]]]:
    """Yield each component with the edited tensors in which its own slices have their unedited
    values again.
    """
    for component in components:
        values = {name: edited[name].to(base[name].dtype) for name in edited}
        for name in component.params:
            if name in values:
                values[name] = values[name].clone()
        touched = [s for s in component.slices if s.param in values]
        for part in touched:
            part.of(values[part.param]).copy_(part.of(base[part.param]))
        yield component, values


def minimality(aim: Aim, full: Metrics, without: Mapping[str, Metrics], pictures: str) -> list[Finding]:
    """P1 from the metrics of the edit and of the edit without each component; a Target that is missed leaves
    it open.
    """
    claim = f"no component can be left out ({pictures})"
    findings = []
    for name, found in without.items():
        still = aim.met(found)
        gain = max(aim.forgetting(found)) - max(aim.forgetting(full))
        note = "Target still met: redundant" if still else "Target broken"
        findings.append(
            Finding(
                proposition="P1",
                claim=claim,
                quantity="rise of M1 without it",
                value=gain,
                unit="points",
                at=name,
                note=note,
            )
        )
    redundant = [name for name, found in without.items() if aim.met(found)]
    if not aim.met(full):
        outcome, note = Outcome.OPEN, "the edit itself misses the Target, so nothing can break it"
    elif not without:
        outcome, note = Outcome.OPEN, "nothing was edited"
    else:
        outcome = Outcome.FAILS if redundant else Outcome.HOLDS
        note = (
            f"redundant: {', '.join(redundant)}"
            if redundant
            else f"each of {len(without)} components is needed"
        )
    total = Finding(
        proposition="P1",
        claim=claim,
        quantity="redundant components",
        value=float(len(redundant)),
        n=len(without),
        outcome=outcome,
        note=note,
    )
    return [total, *findings]


# P2 ---------------------------------------------------------------------------------------------------------
# ---------


def forgetting(before: Tensor, after: Tensor, retain_after: Tensor) -> list[Finding]:
    """P2 from cosines <v, t> of forget pairs [n] before and after the edit, and of retain pairs
    [m] after it.
    """
    fall, share = after - before, float((after < before).double().mean())
    low, high = _mean_interval(fall)
    note = (
        f"{100 * share:.0f} % of pairs fell, from {float(before.mean()):.3f} to "
        f"{float(after.mean()):.3f} on average"
    )
    start = Finding(
        proposition="P2",
        claim="ends below where it began",
        quantity="mean change of <v,t>",
        value=float(fall.mean()),
        low=low,
        high=high,
        n=len(fall),
        unit="cos",
        outcome=_below_zero(low, high),
        note=note,
    )
    gap = float(after.mean()) - float(retain_after.mean())
    half = Z * math.sqrt(_variance(after) / len(after) + _variance(retain_after) / len(retain_after))
    level = float(retain_after.mean())
    share, already = (float((x < level).double().mean()) for x in (after, before))
    note = (
        f"{100 * share:.0f} % of pairs lie below the retain pairs' mean {level:.3f}; before the edit "
        f"{100 * already:.0f} % did"
    )
    threshold = Finding(
        proposition="P2",
        claim="ends below the retain threshold",
        quantity="mean <v,t> minus retain mean",
        value=gap,
        low=gap - half,
        high=gap + half,
        n=len(after),
        unit="cos",
        outcome=_below_zero(gap - half, gap + half),
        note=note,
    )
    return [start, threshold]


def _variance(values: Tensor) -> float:
    return float(values.double().var()) if len(values) > 1 else 0.0


def _mean_interval(values: Tensor) -> tuple[float, float]:
    mean, half = float(values.double().mean()), Z * math.sqrt(_variance(values) / len(values))
    return mean - half, mean + half


def _below_zero(low: float, high: float) -> Outcome:
    return Outcome.HOLDS if high < 0 else Outcome.FAILS if low >= 0 else Outcome.OPEN


# P3 ---------------------------------------------------------------------------------------------------------
# ---------


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


def retention(points: Sequence[RhoPoint], pictures: str) -> list[Finding]:
    """P3 from a sweep over rho: the slope of the rise of L_r on rho times that of L_f, and whether the first
    stays below.
    """
    claim = f"rise of L_r is at most rho x rise of L_f ({pictures})"
    findings, bounds = [], []
    for p in points:
        lift, change = p.rho * p.forget_change.double(), p.retain_change.double()
        margin = float(change.mean() - lift.mean())
        half = Z * math.sqrt(_variance(change) / len(change) + _variance(lift) / len(lift))
        bounds.append(_below_zero(margin - half, margin + half))
        note = f"rise of L_r {float(change.mean()):+.3g}, rho x rise of L_f {float(lift.mean()):+.3g}"
        excess = Finding(
            proposition="P3",
            claim=claim,
            quantity="excess over the bound",
            value=margin,
            low=margin - half,
            high=margin + half,
            n=len(change),
            unit="loss",
            at=f"rho {p.rho:g}",
            note=note,
        )
        findings.append(excess)
    broken = [p.rho for p, b in zip(points, bounds, strict=True) if b is Outcome.FAILS]
    kept = all(b is Outcome.HOLDS for b in bounds)
    slope, low, high = line(
        [p.rho * float(p.forget_change.mean()) for p in points],
        [float(p.retain_change.mean()) for p in points],
    )
    outcome = Outcome.FAILS if broken else Outcome.HOLDS if kept else Outcome.OPEN
    where = f"broken at rho {', '.join(f'{r:g}' for r in broken)}; " if broken else ""
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


# P4 ---------------------------------------------------------------------------------------------------------
# ---------


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
