"""What an edit cost and what happened in it, step by step."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


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
    """A finished edit: new values of the changed tensors only, in the storage dtype, with its log and cost.

    The values are already rounded to the dtype the weights are stored in, so what is evaluated is what a
    patch writes.
    """

    values: dict[str, Tensor]
    components: list[str] = field(default_factory=list)
    log: list[Event] = field(default_factory=list)
    cost: Cost = field(default_factory=Cost)
    notes: list[str] = field(default_factory=list)
