"""Weights in several parts, each a net of its own: a patch binds the parts that it changes, tensor by tensor,
and names the others by a hash each.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torch
from torch import Tensor

from razor_cli.weights.checkpoint import combined_hash, tensor_hash

BESIDE = "beside"  # in a patch's settings: part -> hash, of the parts that it leaves as they are


class Parted(Mapping[str, Tensor]):
    """Tensors whose names begin with the name of their part and a dot."""

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the parts that a patch binds."""
        raise NotImplementedError

    def hash_of(self, part: str) -> str:
        """Return the hash of a part as a whole."""
        return part_hash({name: self[name] for name in self if part_of(name) == part})


def part_of(name: str) -> str:
    """Return the part that a tensor is in."""
    return name.partition(".")[0]


def part_hash(tensors: Mapping[str, Tensor]) -> str:
    """Return one hash over tensors; a matrix that is stored as a convolution of one pixel counts as a matrix,
    as files of one model differ in that.
    """
    return combined_hash({name: tensor_hash(_as_matrix(value)) for name, value in tensors.items()})


def _as_matrix(value: Tensor) -> Tensor:
    pixel = value.ndim == 4 and value.shape[2:] == torch.Size([1, 1])
    return value.flatten(1) if pixel else value


def bound(state: Mapping[str, Tensor], names: Collection[str]) -> Mapping[str, Tensor]:
    """Return the tensors that a change of `names` is bound to: of weights in parts those of the same parts
    (of no change: of all that count), else all.
    """
    if not isinstance(state, Parted):
        return state
    touched = set(map(part_of, names)) or set(state.parts)
    return {name: state[name] for name in state if part_of(name) in touched}


def beside(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, str]:
    """Return the hashes of the parts that a change of `names` leaves as they are."""
    if not isinstance(state, Parted):
        return {}
    touched = set(map(part_of, names)) or set(state.parts)
    return {part: state.hash_of(part) for part in state.parts if part not in touched}


def strangers(state: Mapping[str, Tensor], told: object) -> list[str]:
    """Return which parts are others than those that a patch names beside it; parts that are not there are
    passed over.
    """
    if not isinstance(state, Parted) or not isinstance(told, Mapping):
        return []
    here = [part for part in state.parts if part in told]
    return [part for part in here if state.hash_of(part) != told[part]]
