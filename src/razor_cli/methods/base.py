"""What a method is given and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from torch import Tensor

from razor_cli.data.sets import ConceptSets
from razor_cli.engine.journal import Cost, Event
from razor_cli.engine.lab import Lab
from razor_cli.models.dual import Clip

__all__ = ["Cost", "Edit", "Event", "Method"]


@dataclass(kw_only=True)
class Edit:
    """A finished edit: new values of the changed tensors only, in the storage dtype, with its log and cost.

    The values are already rounded to the dtype the weights are stored in, so what is evaluated is what a patch writes.
    """

    values: dict[str, Tensor]
    components: list[str] = field(default_factory=list)
    log: list[Event] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    notes: list[str] = field(default_factory=list)


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
