"""RAZOR's first stage: what components are scored and ranked by, and which are taken (Eq. 5-7)."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from razor_cli.contract.components import Component, parameters
from razor_cli.contract.family import Family, Named
from razor_cli.engine.saliency import Saliency, measure, select
from razor_cli.methods.razor_choices import Selector, Stages
from razor_cli.methods.razor_settings import RazorSettings


def scored(
    method: RazorSettings, family: Family, components: Sequence[Component], forget: Named, retain: Named
) -> list[Saliency]:
    """Return the saliency of each component at the weights as they are now."""
    return measure(
        components,
        parameters(family),
        forget,
        retain,
        alpha=method.alpha,
        epsilon=method.epsilon,
        power=method.norm_power,
    )


def ranks(method: RazorSettings, found: Sequence[Saliency], generator: torch.Generator) -> list[float]:
    """Return what components are ranked by: phi, or what a rival rule would use."""
    rule = method.selector
    if rule is Selector.GRADIENT_NORM:
        return [s.forget_norm for s in found]
    if rule is Selector.COSINE:
        return [1 - s.cosine for s in found]
    if rule is Selector.RANDOM:
        return torch.rand(len(found), generator=generator).tolist()
    return [s.phi for s in found]


def chosen(method: RazorSettings, found: Sequence[Saliency], generator: torch.Generator) -> list[Saliency]:
    """Return the components that are edited, the highest ranked first."""
    every = method.selector is Selector.ALL
    mode, most = ("all", None) if every else (method.tau_mode.value, method.max_components)
    return [found[i] for i in select(ranks(method, found, generator), method.tau, mode, most)]


def staged(method: RazorSettings, components: Sequence[Component]) -> list[list[Component]]:
    """Return lists of components that compete with each other, one list after the other: all at once, or
    those of each tower in the order of the architecture.
    """
    if method.stages is Stages.TOGETHER:
        return [list(components)]
    towers = dict.fromkeys(c.tower for c in components)
    return [[c for c in components if c.tower == tower] for tower in towers]
