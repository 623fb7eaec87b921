"""The null edit: nothing changes, so every score must equal the base's exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip


@dataclass(frozen=True, kw_only=True)
class NoneEdit:
    """Change nothing."""

    families: ClassVar[tuple[str, ...]] = ("clip",)
    stochastic: ClassVar[bool] = False

    name: str = "none"  # label in tables and folder of the runs

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Return the empty edit."""
        return Edit(values={}, cost=lab.cost, notes=["null edit: nothing was changed"])
