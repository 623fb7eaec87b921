"""SLUG's choice of tensors: the Pareto front of each tower, and which of it gets a search."""

from __future__ import annotations

from collections.abc import Sequence

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.family import Family, Named
from razor_cli.engine.saliency import Saliency, measure, pareto_front
from razor_cli.methods.slug_choices import Align, Candidates, Searched


def front_of(
    family: Family, forget: Named, retain: Named, towers: Towers, candidates: Candidates, align: Align
) -> list[Saliency]:
    """Return the Pareto front of each tower: high |g_f|/|theta| against low alignment."""
    every = family.components(Granularity.TENSOR, towers, include_projections=True)
    if candidates is Candidates.ATTN_MLP_ONLY:
        allowed = {n for names in family.quantizable().linear.values() for n in names}
        every = [c for c in every if c.name in allowed]
    live, front = parameters(family), []
    for tower in dict.fromkeys(c.tower for c in every):
        own = [c for c in every if c.tower == tower]
        scored = measure(own, live, forget, retain, alpha=0.0, epsilon=0.0, power=1)
        scored = [s for s in scored if s.forget_norm > 0 and s.weight_norm > 0]  # zero gradient: 0
        alignment = [abs(s.cosine) if align is Align.ABS else s.cosine for s in scored]
        front += [scored[i] for i in pareto_front([s.phi for s in scored], alignment)]
    return front


def searched(
    family: Family, front: Sequence[Saliency], rule: Searched, forget: Named, retain: Named
) -> list[tuple[Saliency, ...]]:
    """Return the tensors that get a search: each of the front by itself, each with one of every other tower,
    or the deepest of every tower; what stands in one group moves together.
    """
    if rule is Searched.FRONT:
        return [(s,) for s in front]
    if rule is Searched.TOGETHER:
        return _side_by_side(front)
    found = []
    for tower in dict.fromkeys(s.component.tower for s in front):
        own = [s for s in front if s.component.tower == tower]
        if rule is Searched.DEEPEST_CODE:
            own = [s for s in own if s.component.layer > 0]
        found.append(
            max(own, key=lambda s: s.component.layer) if own else _usual(family, tower, forget, retain)
        )
    return [tuple(found)] if found else []


def _side_by_side(front: Sequence[Saliency]) -> list[tuple[Saliency, ...]]:
    """Return groups of one tensor of every tower: as many as the longest front has, the shorter ones spread
    over them.
    """
    towers = dict.fromkeys(s.component.tower for s in front)
    fronts = [[s for s in front if s.component.tower == tower] for tower in towers]
    most = max(map(len, fronts), default=0)
    return [tuple(own[i * len(own) // most] for own in fronts) for i in range(most)]


def _usual(family: Family, tower: str, forget: Named, retain: Named) -> Saliency:
    """Return what the published code edits where it finds nothing: the last block's attention output, the one
    matrix there that moves by itself.
    """
    every = [c for c in family.components(Granularity.TENSOR, Towers.BOTH) if c.tower == tower]
    alone = [c for c in every if _is_matrix(family, c) and family.siblings(c) == [c]]
    last = max(c.layer for c in alone)
    inside = [c for c in alone if c.layer == last]
    return measure(inside[-1:], parameters(family), forget, retain, alpha=0.0, epsilon=0.0, power=1)[0]


def _is_matrix(family: Family, component: Component) -> bool:
    return family.module.get_parameter(component.name).ndim > 1
