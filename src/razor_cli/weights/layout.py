"""How weights lie on disk: what reading and writing them ask for, whatever files they are in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Layout(Protocol):
    """A checkpoint on disk: a file or a folder."""

    @property
    def path(self) -> Path:
        """Return the file or the folder."""
        ...

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the weights files that are read."""
        ...

    @property
    def is_folder(self) -> bool:
        """Tell whether it is a folder."""
        ...

    def read(self) -> Mapping[str, Tensor]:
        """Return all tensors as stored (CPU), by the names that patches have for them."""
        ...

    def left_out(self, changed: Collection[str]) -> list[str]:
        """Return the names of files that `write` does not carry over when these tensors are changed."""
        ...

    def write(self, target: Path, changed: Mapping[str, Tensor], *, link: bool = False) -> None:
        """Write the same to `target` with the tensors in `changed` replaced; with `link` files in which
        nothing changes get a second name where they lie, in place of a copy. Not atomic.
        """
        ...
