"""Which tensors a quantization covers, and the count that proves that none is missing."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from torch import nn

from razor_cli.contract.components import DualEncoder, Granularity, Tower, Towers, parameters
from razor_cli.errors import ConfigError, RunError, nearest


class Scope(StrEnum):
    """Which weights are quantized; a matrix that the edit changed always is, whatever the scope."""

    LINEAR = "linear"  # every attention and MLP weight of both towers
    VISION = "vision"  # those of the image tower
    TEXT = "text"  # those of the text tower
    EDITED_TOWER = "edited_tower"  # those of each tower that the edit touched


def quantized_names(
    model: DualEncoder,
    edited: Collection[str],
    scope: Scope,
    *,
    patch_conv: bool = False,
    projections: bool = False,
) -> list[str]:
    """Return the parameters to quantize: those in scope, the options' and every edited matrix, each once.

    Raises RunError when the attention and MLP weights in scope are not exactly those of the architecture.
    """
    live = parameters(model)
    if unknown := [name for name in edited if name not in live]:
        raise RunError(
            f"the edit changes {unknown[0]}, which the model does not have",
            found=nearest(unknown[0], live) or None,
        )
    towers = _towers(model, scope, edited)
    home = _block_parameters(model)
    everything = scope is Scope.LINEAR
    names = [name for name in model.quantizable() if everything or home.get(name) in towers]
    _check_count(model, towers, sum(home.get(name) in towers for name in set(names)), len(names))
    if patch_conv and Tower.VISION in towers:
        names += _nonempty("patch_conv", _conv_weights(model))
    if projections:
        names += _nonempty(
            "projections", [name for name, tower in _projections(model).items() if tower in towers]
        )
    names += [name for name in edited if live[name].ndim >= 2]
    return list(dict.fromkeys(names))


def expected_count(model: DualEncoder, tower: Tower) -> int:
    """Return how many attention and MLP matrices the tower's blocks hold, counted from their modules and not
    by name.
    """
    count = 0
    for block in model.blocks(tower):
        for module in block.modules():
            if isinstance(module, nn.MultiheadAttention):
                count += (
                    1 if module.in_proj_weight is not None else 3
                )  # out_proj is counted as the Linear it is
            count += isinstance(module, nn.Linear)
    return count


def transposed_weights(model: DualEncoder) -> frozenset[str]:
    """Return the projections that are multiplied from the right (x @ W), whose output channels are dimension
    1.
    """
    return frozenset(
        name
        for name in _projections(model)
        if not isinstance(model.module.get_submodule(name.rpartition(".")[0]), nn.Linear)
    )


def _towers(model: DualEncoder, scope: Scope, edited: Collection[str]) -> set[Tower]:
    if scope is not Scope.EDITED_TOWER:
        return {Scope.VISION: {Tower.VISION}, Scope.TEXT: {Tower.TEXT}}.get(scope, set(Tower))
    home = {p: c.tower for c in model.components(Granularity.TENSOR, Towers.BOTH, True) for p in c.params}
    home |= _block_parameters(model)
    if touched := {home[name] for name in edited if name in home}:
        return touched
    raise ConfigError(
        "quantization.scope=edited_tower needs an edit, and this one changed no tower",
        fix="quantization.scope=linear",
    )


def _block_parameters(model: DualEncoder) -> dict[str, Tower]:
    """Return the tower of every parameter that lies in a transformer block, by the model's names."""
    owner = {id(p): tower for tower in Tower for block in model.blocks(tower) for p in block.parameters()}
    return {name: owner[id(p)] for name, p in model.module.named_parameters() if id(p) in owner}


def _check_count(model: DualEncoder, towers: Collection[Tower], found: int, total: int) -> None:
    expected = sum(expected_count(model, tower) for tower in towers)
    if found != expected or total == 0:
        raise RunError(
            f"quantization of {model.label} does not cover its attention and MLP weights",
            allowed=f"{expected} tensors in the blocks of {' and '.join(sorted(towers))}, at least one "
            "in all",
            found=f"{found} in the blocks, {total} in all",
            fix="the model's quantizable() must name every one of them",
        )


def _conv_weights(model: DualEncoder) -> list[str]:
    return [
        f"{name}.weight" for name, module in model.module.named_modules() if isinstance(module, nn.Conv2d)
    ]


def _projections(model: DualEncoder) -> dict[str, Tower]:
    """Return the final projections with their towers: the matrices that `include_projections` adds after the
    blocks.
    """
    live = parameters(model)
    plain, more = (model.components(Granularity.TENSOR, Towers.BOTH, include) for include in (False, True))
    known = {param for component in plain for param in component.params}
    added = [(param, component) for component in more for param in component.params if param not in known]
    return {
        param: component.tower for param, component in added if component.layer >= 0 and live[param].ndim == 2
    }


def _nonempty(option: str, names: list[str]) -> list[str]:
    if not names:
        raise RunError(
            f"quantization.{option}=true finds no such weight in this model",
            fix=f"quantization.{option}=false",
        )
    return names
