"""What a method is given and what it returns."""

from __future__ import annotations

from typing import ClassVar, Protocol

from razor_cli.contract.edit import Cost, Edit, Event
from razor_cli.data.sets import ConceptSets
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip

__all__ = ["Cost", "Edit", "Event", "Method"]


class Method(Protocol):
    """A frozen dataclass of hyper-parameters with one verb."""

    families: ClassVar[tuple[str, ...]]  # families this method serves

    @property
    def name(self) -> str:
        """Label in tables, and folder of the runs: the name of the preset."""
        ...

    @property
    def stochastic(self) -> bool:
        """Tell whether another seed gives another edit."""
        ...

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Return the edit; the model's weights are the same afterwards, bit for bit."""
        ...
