"""What quantization covers of a model with two towers, and the counts that prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import home_of, parameters
from razor_cli.contract.quantizable import Quantizable
from razor_cli.dual.view import DualEncoder, Tower


def quantizable_of(
    model: DualEncoder,
    linear: Mapping[Tower, Sequence[str]],
    parts: Mapping[Tower, Sequence[nn.Module]] | None = None,
) -> Quantizable:
    """Return what covers a model whose towers have these attention and MLP weights in their `parts` (None: in
    their blocks).
    """
    projections = projections_of(model)
    inside = {t: model.blocks(t) for t in Tower} if parts is None else parts
    return Quantizable(
        linear={t: tuple(names) for t, names in linear.items()},
        counted={t: expected_count(inside[t]) for t in Tower},
        blocks=block_parameters(model, inside),
        home=home_of(model.components(Granularity.TENSOR, Towers.BOTH, True)),
        convolutions={Tower.VISION: conv_weights(model)},
        projections={t: [n for n, tower in projections.items() if tower == t] for t in Tower},
        transposed=frozenset(n for n in projections if not _is_linear(model, n)),
    )


def expected_count(parts: Sequence[nn.Module]) -> int:
    """Return how many attention and MLP matrices a tower's parts hold, counted from their modules and not by
    name.
    """
    count = 0
    for block in parts:
        for module in block.modules():
            if isinstance(module, nn.MultiheadAttention):  # its out_proj is counted as the Linear it is
                count += 1 if module.in_proj_weight is not None else 3
            count += isinstance(module, nn.Linear)
    return count


def block_parameters(model: DualEncoder, parts: Mapping[Tower, Sequence[nn.Module]]) -> dict[str, str]:
    """Return the tower of every parameter that lies in a tower's parts, by the model's names."""
    owner = {id(p): tower for tower in Tower for part in parts[tower] for p in part.parameters()}
    return {name: owner[id(p)] for name, p in model.module.named_parameters() if id(p) in owner}


def conv_weights(model: DualEncoder) -> list[str]:
    """Return the weights of all convolutions."""
    return [
        f"{name}.weight" for name, module in model.module.named_modules() if isinstance(module, nn.Conv2d)
    ]


def projections_of(model: DualEncoder) -> dict[str, str]:
    """Return the final projections with their towers: the matrices that `include_projections` adds, of towers
    that cannot be entered at a block too.
    """
    live = parameters(model)
    plain, more = (model.components(Granularity.TENSOR, Towers.BOTH, include) for include in (False, True))
    known = {param for component in plain for param in component.params}
    added = [(param, component) for component in more for param in component.params if param not in known]
    return {param: component.tower for param, component in added if live[param].ndim == 2}


def _is_linear(model: DualEncoder, name: str) -> bool:
    """Tell whether a weight is multiplied from the left: that of a Linear module, not x @ W."""
    return isinstance(model.module.get_submodule(name.rpartition(".")[0]), nn.Linear)
