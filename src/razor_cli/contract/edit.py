"""What a method returns: a change of a model, what happened on the way to it, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.family import Family

WEIGHTS, ADAPTER, RUNTIME = "weights", "adapter", "runtime"  # kinds of change


class Change(Protocol):
    """What an edit does to a model: other weights, something put beside them, or something done
    at run time.
    """

    @property
    def kind(self) -> str:
        """Return WEIGHTS, ADAPTER or RUNTIME."""
        ...

    def held(self, family: Family) -> AbstractContextManager[object]:
        """Hold the change in the model, and restore every bit on leaving. Changes nest."""
        ...

    def random_like(self, family: Family, seed: int) -> Change | str:
        """Return a change of the same size in a random direction, the control of this one; or why there is
        none.
        """
        ...

    def tensors(self) -> Mapping[str, Tensor]:
        """Return what a patch stores, by name; nothing for a change at run time."""
        ...


@dataclass(kw_only=True)
class Cost:
    """What an edit cost. Passes count pictures: `forwards` = pictures sent through a tower, `backwards`
    likewise.
    """

    seconds: float = 0.0
    gradient_seconds: float = 0.0
    search_seconds: float = 0.0
    forwards: int = 0
    backwards: int = 0
    evaluations: int = 0  # trial models scored on validation data
    gradient_cache_hits: int = 0
    peak_mb: float = 0.0


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

    @property
    def values(self) -> dict[str, Tensor]:
        """Return the tensors of the change: of changed weights the new values, in the storage dtype."""
        return dict(self.change.tensors())
