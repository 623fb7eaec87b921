"""A patch that was made for a model, and weights that contain a part of it: what it says of that part holds
there too, once both are known to be the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from torch import Tensor

from razor_cli.errors import PatchError
from razor_cli.weights.layout import Layout
from razor_cli.weights.patch_format import PatchHeader


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A patch by the names and in the dtypes of the weights that it is for."""

    header: PatchHeader
    values: Mapping[str, Tensor]
    notes: tuple[str, ...] = ()  # what a reader must know where it was made for another model


@runtime_checkable
class Containing(Protocol):
    """A layout of weights that contain a part of another model."""

    def adopted(
        self, header: PatchHeader, values: Mapping[str, Tensor], companion: Path | None
    ) -> Fitted | None:
        """Return the patch of the other model as one for these weights; None for a patch that was made for
        them. `companion` are the weights of the other model as the patch knows them. Raises PatchError where
        the part differs, or the patch changes more than it.
        """
        ...


def fitted(
    source: Layout, header: PatchHeader, values: Mapping[str, Tensor], companion: Path | None
) -> Fitted:
    """Return a patch as one for these weights. Raises PatchError where it is for a model that they contain
    and does not fit.
    """
    if isinstance(source, Containing):
        found = source.adopted(header, values, companion)
        if found is not None:
            return found
    elif companion is not None:
        raise PatchError(
            f"--companion: {source.path} contains no other model that a patch could be for",
            allowed="with --base WEIGHTS that contain a part of another model, such as its image tower",
            found=companion,
            fix="leave it out",
        )
    return Fitted(header=header, values=values)
