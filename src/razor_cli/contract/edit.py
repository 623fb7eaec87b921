"""What a method returns: a change of a model, what happened on the way to it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Change

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Headed(Protocol):
    """A change whose file has something to say of its tensors."""

    @property
    def header(self) -> Mapping[str, str]:
        """Return further entries of the file's header."""
        ...


@dataclass(kw_only=True)
class Event:
    """One step of an edit, one row of edit_log.csv. Metrics are of the validation set, in the metrics'
    printed units.
    """

    step: int
    # select | search | apply | grow | refuse | trim | retry | epoch | stop; `dropped …`: not kept
    action: str
    component: str = ""
    kind: str = ""
    tower: str = ""
    phi: float | None = None
    weight_norm: float | None = None
    forget_norm: float | None = None
    retain_norm: float | None = None
    cosine: float | None = None
    step_size: float | None = None  # lambda
    relative_step: float | None = None  # norm of the change over norm of the weights
    before: dict[str, float] = field(default_factory=dict)
    after: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    note: str = ""


@dataclass(kw_only=True)
class Edit:
    """A finished edit: its change, with log and cost.

    Values of weights are already rounded to the dtype the weights are stored in, so what is evaluated is what
    a patch writes.
    """

    change: Change
    components: list[str] = field(default_factory=list)
    log: list[Event] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    notes: list[str] = field(default_factory=list)
    null: bool = False  # it is meant to change nothing
    also: Mapping[str, Change] = field(
        default_factory=dict
    )  # further states to evaluate: the edit used otherwise
    # Of an edit that is made up of others: the changes on the way to it, by the state each is evaluated as.
    states: dict[str, Change] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Tensor]:
        """Return the tensors of the change: of changed weights the new values, in the storage dtype."""
        return dict(self.change.tensors())
