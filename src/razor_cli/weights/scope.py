"""Which tensors a quantization covers, and the count that proves that none is missing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from razor_cli.config.quantization import Scope
from razor_cli.contract.components import parameters
from razor_cli.contract.family import Family
from razor_cli.contract.quantizable import Quantizable
from razor_cli.errors import ConfigError, RunError, nearest


def quantized_names(
    family: Family,
    edited: Collection[str],
    scope: Scope,
    *,
    patch_conv: bool = False,
    projections: bool = False,
    vae: bool = False,
) -> list[str]:
    """Return the parameters to quantize: those in scope, the options' and every edited matrix, each once.

    Raises RunError when the attention and MLP weights in scope are not exactly those of the architecture,
    ConfigError for a tower that the model does not have.
    """
    live, covered = parameters(family), family.quantizable()
    if unknown := [name for name in edited if name not in live]:
        raise RunError(
            f"the edit changes {unknown[0]}, which the model does not have",
            found=nearest(unknown[0], live) or None,
        )
    towers = _towers(covered, scope, edited)
    everything = [name for names in covered.linear.values() for name in names]
    inside = [name for name in everything if covered.blocks.get(name) in towers]
    names = everything if scope is Scope.LINEAR else inside
    _check_count(family.label, covered, towers, len(set(inside)), len(names))
    if patch_conv:
        names = names + _added("patch_conv", covered.convolutions, towers)
    if projections:
        names = names + _added("projections", covered.projections, towers)
    if vae:
        names = names + _added("vae", covered.vae, towers)
    names = names + [name for name in edited if live[name].ndim >= 2]
    return list(dict.fromkeys(names))


def _towers(covered: Quantizable, scope: Scope, edited: Collection[str]) -> list[str]:
    if scope is Scope.LINEAR:
        return list(covered.linear)
    if scope is not Scope.EDITED_TOWER:
        if scope.value not in covered.linear:
            raise ConfigError(
                f"quantization.scope={scope}: the model has no such tower",
                allowed=f"linear, edited_tower, {', '.join(covered.linear)}",
                fix="quantization.scope=linear",
            )
        return [scope.value]
    home = {**covered.home, **covered.blocks}
    touched = {home[name] for name in edited if name in home}
    if touched:
        return [tower for tower in covered.linear if tower in touched]
    raise ConfigError(
        "quantization.scope=edited_tower needs an edit, and this one changed no tower",
        fix="quantization.scope=linear",
    )


def _check_count(label: str, covered: Quantizable, towers: Sequence[str], found: int, total: int) -> None:
    expected = sum(covered.counted[tower] for tower in towers)
    if found != expected or total == 0:
        raise RunError(
            f"quantization of {label} does not cover its attention and MLP weights",
            allowed=f"{expected} tensors in the blocks of {' and '.join(sorted(towers))}, at least one "
            "in all",
            found=f"{found} in the blocks, {total} in all",
            fix="the model's quantizable() must name every one of them",
        )


def _added(option: str, by_tower: Mapping[str, Sequence[str]], towers: Sequence[str]) -> list[str]:
    """Return what an option adds in these towers. RunError where none of the model's towers has such a
    weight.
    """
    if not any(by_tower.values()):
        raise RunError(
            f"quantization.{option}=true finds no such weight in this model",
            fix=f"quantization.{option}=false",
        )
    return [name for tower in towers for name in by_tower.get(tower, ())]
