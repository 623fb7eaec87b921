"""The proof that components cover two towers: every parameter is owned once, or never edited for a stated reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice
from razor_cli.dual.components import NOT_CANDIDATES, Layout
from razor_cli.dual.view import DualEncoder
from razor_cli.errors import RunError

DECODER = "text_decoder."  # of CoCa: writes captions, and no embedding goes through it
OUTER = ("logit_scale", "logit_bias")
POSITIONS = ("position", "pos_embed", "embed", "token", "latent", "query", "probe", "relative_attention_bias")
SCALES = ("gamma", "scale")


def never_edited(
    model: DualEncoder,
    layouts: Sequence[Layout],
    granularity: Granularity,
    include_projections: bool = False,
) -> dict[str, str]:
    """Return why each parameter that no component of both towers owns is never edited, in the model's order.

    Raises RunError for a number that two components own, a parameter that is owned in part, and one that is not
    owned without a reason: the model's parts were not all found.
    """
    components = model.components(granularity, Towers.BOTH, include_projections)
    owned = _owned(model.module, components)
    reasons: dict[str, str] = {}
    for name, parameter in model.module.named_parameters():
        if name in owned:
            if owned[name] != parameter.numel():
                raise RunError(f"components own {owned[name]} of the {parameter.numel()} numbers of {name}")
            continue
        why = _reason(model.module, name, layouts, granularity, include_projections)
        if why is None:
            raise RunError(
                f"no component of granularity {granularity} owns {name}, and nothing says why",
                fix="choose another architecture (docs/architectures.md)",
            )
        reasons[name] = why
    return reasons


def _owned(module: nn.Module, components: Sequence[Component]) -> dict[str, int]:
    """Return how many numbers of each parameter components own. Raises RunError for one owned twice."""
    seen: dict[str, torch.Tensor] = {}
    shapes = {n: p.shape for n, p in module.named_parameters()}
    whole: dict[str, Slice] = {}
    counts: dict[str, int] = {}
    for component in components:
        for part in component.slices:
            if part.dim is None and part.param not in counts:  # the usual case, without a map of its numbers
                whole[part.param] = part
                counts[part.param] = shapes[part.param].numel()
                continue
            if part.dim is not None and part.param not in whole:
                taken = seen.setdefault(part.param, torch.zeros(shapes[part.param][part.dim], dtype=torch.bool))
                lines = taken[part.start : part.stop]
                if not bool(lines.any()):
                    lines.fill_(True)
                    each = shapes[part.param].numel() // shapes[part.param][part.dim]
                    counts[part.param] = int(taken.sum()) * each
                    continue
            raise RunError(f"two components own the same numbers of {part.param}", found=component.name)
    return counts


def _reason(
    module: nn.Module, name: str, layouts: Sequence[Layout], granularity: Granularity, with_projections: bool
) -> str | None:
    owner, _, own = name.rpartition(".")
    kind = type(module.get_submodule(owner)).__name__
    inside = any(f"{name}.".startswith(f"{part}.") for layout in layouts for part in layout.parts)
    layout = next(layout for layout in layouts if layout.owns(name))
    if granularity is Granularity.TENSOR and any(word in name for word in NOT_CANDIDATES):
        return "its name: SLUG takes no bias, position, embedding or scale"
    tests: Mapping[str, bool] = {
        "temperature of the loss": name in OUTER,
        "writes captions; no embedding goes through it": name.startswith(DECODER),
        "normalisation": "norm" in kind.lower() or "norm" in own,
        "embedding or position": kind == "Embedding" or any(w in own for w in POSITIONS) and "proj" not in own,
        "scale of a branch": any(own.startswith(w) for w in SCALES),
        "shared by all heads": inside and granularity is Granularity.HEAD_MLP,
        "projection, taken with include_projections": not inside and not with_projections and _is_last(name, layout),
        "before the first block": not inside and layout.layer_of(name) < 0,
        "between stages of blocks": not inside and 0 <= layout.layer_of(name) < layout.layers,
        "bias behind the blocks": not inside and own == "bias",
        "behind the blocks": not inside and kind in {"Conv2d", "Linear"},
    }
    return next((why for why, holds in tests.items() if holds), None)


def _is_last(name: str, layout: Layout) -> bool:
    named = getattr(layout, "projections", None) or (getattr(layout, "projection", None),)
    return name in named
