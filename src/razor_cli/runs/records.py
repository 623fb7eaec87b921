"""What a run folder holds, as typed records: run.json, and the rows of scores.csv and edit_log.csv."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from razor_cli.runs.provenance import Provenance

if TYPE_CHECKING:  # methods.base needs torch, which reading a record must not
    from razor_cli.contract.budget import Budget
    from razor_cli.contract.cost import Cost
    from razor_cli.contract.edit import Event

# Of run.json and scores.csv: 3 has the columns of 2, and its id covers more of what decides the numbers.
FORMAT = 3
COMPARABLE = frozenset({2, FORMAT})  # formats whose records stand in one table; 1 lacks columns and settings


class Identity(BaseModel):
    """Which run it is, as every row of scores.csv repeats it. `data` names the source of the target's
    pictures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    run_id: str
    model: str
    family: str
    stand_in: bool
    scenario: str
    data: str
    target: str
    method: str
    seed: int
    judged_on: str = (
        "evaluation"  # or validation: a run for choosing settings, left out of the papers' tables
    )


class EditedComponent(BaseModel):
    """One component that the edit changed; `relative_step` = norm of the change over norm of its weights."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    kind: str = ""
    tower: str = ""
    phi: float | None = None
    step_size: float | None = None
    relative_step: float | None = None


class PassRecord(BaseModel):
    """What one adaptive gradient pass used of each set, and how its halves agreed when it last looked."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    used: dict[str, int]
    there: dict[str, int]
    same: bool | None
    cosine: float | None
    looks: int
    stopped_early: bool


class CostRecord(BaseModel):
    """What edit and run cost: seconds, pictures sent forward and backward, memory in MB, patch
    size in bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    seconds: float
    gradient_seconds: float
    search_seconds: float
    forwards: int
    backwards: int
    evaluations: int
    drawn: int = 0  # pictures that the search of a model that draws looked at
    gradient_cache_hits: int
    passes: list[PassRecord] = Field(default_factory=list)  # those that were adaptive
    peak_mb: float
    device_mb: float = 0.0  # on a GPU; 0 on a CPU
    run_seconds: float
    peak_rss_mb: float
    patch_bytes: int | None = None  # None: the method makes no patch

    @classmethod
    def of(cls, cost: Cost, *, run_seconds: float, peak_rss_mb: float, patch_bytes: int | None) -> CostRecord:
        """Return the record of an edit's cost and of the run around it."""
        return cls(**asdict(cost), run_seconds=run_seconds, peak_rss_mb=peak_rss_mb, patch_bytes=patch_bytes)


class Fitted(BaseModel):
    """How many examples were taken at once; `each_mb` is what one was seen to take, `fixed_mb` what all of
    them take together. Memory in MB.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_once: int
    each_mb: float
    fixed_mb: float


class MemoryRecord(BaseModel):
    """What a run could take where it computed, as the settings asked for it, and what was chosen by it, by
    what was taken at once.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    asked: str
    budget_mb: float | None  # None: nothing told how much there was
    chosen: dict[str, Fitted] = Field(default_factory=dict)

    @classmethod
    def of(cls, budget: Budget) -> MemoryRecord:
        """Return the record of a budget."""
        mb = 2**20
        return cls(
            asked=budget.asked,
            budget_mb=None if budget.total is None else budget.total / mb,
            chosen={
                what: Fitted(at_once=fit.at_once, each_mb=fit.each / mb, fixed_mb=fit.fixed / mb)
                for what, fit in budget.fits.items()
            },
        )


class Decision(StrEnum):
    """How a run ends when its scenario declares acceptance thresholds."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    UNDECIDED = "UNDECIDED"


class Verdict(BaseModel):
    """The decision and, one sentence each, what it rests on; who judged, where scores name them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Decision
    judge: str = ""
    reasons: list[str] = Field(default_factory=list)

    @property
    def by(self) -> str:
        """Return what follows the decision where it is printed."""
        return f" by {self.judge}" if self.judge else ""


class RunRecord(Identity):
    """run.json."""

    format: int = FORMAT
    settings: dict[str, object]
    overrides: dict[str, object] = Field(default_factory=dict)  # keys that its command line or grid set
    provenance: Provenance
    cost: CostRecord
    memory: MemoryRecord | None = None  # of runs from before there was a budget
    verdict: Verdict | None = None
    components: list[EditedComponent] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


def edited_components(names: Iterable[str], log: Sequence[Event]) -> list[EditedComponent]:
    """Return each edited component with its φ and its final step, taken from the edit log.

    Steps of several rounds add up, as lengths; of all else a later event wins. A trim scales what came
    before, and the steps of an attempt that was not kept do not count.
    """
    fields = ("kind", "tower", "phi", "step_size", "relative_step")
    components = []
    for name in dict.fromkeys(names):
        known: dict[str, object] = {}
        for event in log:
            if (
                event.component == name
                and event.action != "refuse"
                and not event.action.startswith("dropped")
            ):
                found = {f: getattr(event, f) for f in fields if getattr(event, f) not in {None, ""}}
                known |= found | {
                    f: found[f] + known[f]
                    for f in ("step_size", "relative_step")
                    if f in found and f in known
                }
            elif event.action == "trim" and event.step_size is not None:
                known |= {f: known[f] * event.step_size for f in ("step_size", "relative_step") if f in known}  # type: ignore[operator]
        components.append(EditedComponent.model_validate({"name": name, **known}))
    return components
