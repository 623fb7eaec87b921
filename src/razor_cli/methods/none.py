"""The null edit: nothing changes, so every score must equal the base's exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from razor_cli.contract.edit import Edit

if TYPE_CHECKING:
    from razor_cli.engine.lab import Lab


@dataclass(frozen=True, kw_only=True)
class NoneEdit:
    """Change nothing."""

    needs: ClassVar[frozenset[str]] = frozenset()
    stochastic: ClassVar[bool] = False

    name: str = "none"  # label in tables and folder of the runs

    def edit(self, lab: Lab) -> Edit:
        """Return the empty edit."""
        from razor_cli.engine.changes import Weights

        return Edit(change=Weights(), cost=lab.cost, notes=["null edit: nothing was changed"], null=True)
