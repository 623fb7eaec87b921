"""The proof that components cover two towers: every parameter is owned once, or never edited for a stated
reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component
from razor_cli.dual.components import DECODER, NOT_CANDIDATES, Layout
from razor_cli.dual.found import FoundTower
from razor_cli.dual.view import DualEncoder
from razor_cli.errors import WeightsError

OUTER = ("logit_scale", "logit_bias")
POSITIONS = ("position", "pos_embed", "embed", "token", "latent", "query", "probe", "relative_attention_bias")
SCALES = ("gamma", "scale")
PER_PAIR = ("rel_pos", "relative_position")  # weights of an attention that go by pairs of places


def check_complete(model: DualEncoder, layouts: Sequence[Layout]) -> None:
    """Raise WeightsError unless every parameter of towers whose parts were found is in one component at each
    granularity, or known to be edited never.
    """
    if any(isinstance(layout, FoundTower) for layout in layouts):
        for granularity in Granularity:
            never_edited(model, layouts, granularity)


def never_edited(
    model: DualEncoder,
    layouts: Sequence[Layout],
    granularity: Granularity,
    include_projections: bool = False,
) -> dict[str, str]:
    """Return why each parameter that no component of both towers owns is never edited, in the model's order.

    Raises WeightsError for a number that two components own, a parameter that is owned in part, and one that
    is not owned without a reason: the model's parts were not all found.
    """
    components = model.components(granularity, Towers.BOTH, include_projections)
    owned = _owned(model.module, components)
    whole = model.components(Granularity.ATTN_MLP, Towers.BOTH)
    shared = {param for component in whole if component.kind == "attn" for param in component.params}
    reasons = _Reasons(module=model.module, layouts=layouts, granularity=granularity, shared=shared)
    found: dict[str, str] = {}
    for name, parameter in model.module.named_parameters():
        if name not in owned:
            found[name] = reasons.of(name)
        elif owned[name] != parameter.numel():
            raise WeightsError(f"components own {owned[name]} of the {parameter.numel()} numbers of {name}")
    return found


def _owned(module: nn.Module, components: Sequence[Component]) -> dict[str, int]:
    """Return how many numbers of each parameter components own. Raises WeightsError for one owned twice."""
    shapes = {n: p.shape for n, p in module.named_parameters()}
    lines: dict[str, tuple[int | None, torch.Tensor]] = {}  # of each parameter: cut along what, taken by whom
    for component in components:
        for part in component.slices:
            length = 1 if part.dim is None else shapes[part.param][part.dim]
            dim, taken = lines.setdefault(part.param, (part.dim, torch.zeros(length, dtype=torch.bool)))
            own = taken if part.dim is None else taken[part.start : part.stop]
            if dim != part.dim or bool(own.any()):
                raise WeightsError(
                    f"two components own the same numbers of {part.param}", found=component.name
                )
            own.fill_(True)
    return {n: int(taken.sum()) * (shapes[n].numel() // len(taken)) for n, (_, taken) in lines.items()}


@dataclass(frozen=True, kw_only=True)
class _Reasons:
    """Why a parameter is never edited, by what its module is and where it stands."""

    module: nn.Module
    layouts: Sequence[Layout]
    granularity: Granularity
    shared: Collection[str]  # what attentions own, whatever their heads do

    def of(self, name: str) -> str:
        """Return the reason. Raises WeightsError where there is none."""
        if name in OUTER:
            return "temperature of the loss"
        if name.startswith(DECODER):
            return "writes captions; no embedding goes through it"
        if self.granularity is Granularity.TENSOR and any(word in name for word in NOT_CANDIDATES):
            return "its name: SLUG takes no bias, position, embedding or scale"
        layout = next(layout for layout in self.layouts if layout.owns(name))
        inside = any(name.startswith(f"{part}.") for part in layout.parts)
        why = self._kind(name) or (None if inside else self._place(name, layout))
        if why is None:
            raise WeightsError(
                f"no component of granularity {self.granularity} owns {name}, and nothing says why",
                fix="choose another architecture (docs/architectures.md)",
            )
        return why

    def _kind(self, name: str) -> str | None:
        owner, _, own = name.rpartition(".")
        kind = type(self.module.get_submodule(owner)).__name__
        if "norm" in kind.lower() or "norm" in own:
            return "normalisation"
        if kind == "Embedding" or (any(w in own for w in POSITIONS) and "proj" not in own):
            return "embedding or position"
        if own.startswith(SCALES):
            return "scale of a branch"
        if name in self.shared and (own == "bias" or any(w in name for w in PER_PAIR)):
            return "shared by all heads"
        return None

    def _place(self, name: str, layout: Layout) -> str:
        if name in layout.projections:
            return "projection: include_projections takes it"
        layer = layout.layer_of(name)
        if layer < 0:
            return "before the first block"
        return "between stages of blocks" if layer < layout.layers else "behind the blocks"
