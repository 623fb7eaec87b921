"""A bench with a tiny pipeline, and what tests ask of edits made on it."""

from __future__ import annotations

from typing import Any

import torch
from tiny_drawn import make_sets
from torch import Tensor

from razor_cli.engine.lab import Lab
from razor_cli.families.diffusion.family import Diffusion


def lab_of(family: Diffusion, **more: Any) -> Lab:
    """Return a bench with the model and the sets of a style."""
    return Lab(family=family, sets=more.pop("sets", make_sets()), **more)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Tell whether two sets of tensors are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
