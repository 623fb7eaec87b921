"""Propositions 1 and 2, on a finished edit: nothing of it can be left out, and it forgets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from razor_cli.contract.components import Component
from razor_cli.engine.search import Aim, Metrics
from razor_cli.studies.finding import Finding, Outcome, Z, below_zero, mean_interval, variance


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


def minimality(
    aim: Aim,
    full: Metrics,
    without: Mapping[str, Metrics],
    pictures: str,
    rise: str = "rise of M1 without it",
) -> list[Finding]:
    """P1 from the metrics of the edit and of the edit without each component; a Target that is missed leaves
    it open. `rise` names what rises.
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
                quantity=rise,
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


def forgetting(before: Tensor, after: Tensor, retain_after: Tensor) -> list[Finding]:
    """P2 from cosines <v, t> of forget pairs [n] before and after the edit, and of retain pairs
    [m] after it.
    """
    fall, share = after - before, float((after < before).double().mean())
    low, high = mean_interval(fall)
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
        outcome=below_zero(low, high),
        note=note,
    )
    gap = float(after.mean()) - float(retain_after.mean())
    half = Z * math.sqrt(variance(after) / len(after) + variance(retain_after) / len(retain_after))
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
        outcome=below_zero(gap - half, gap + half),
        note=note,
    )
    return [start, threshold]
