"""What a run folder holds, as typed records: run.json, and the rows of scores.csv and edit_log.csv."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from razor_cli.errors import RunError
from razor_cli.metrics.score import Score
from razor_cli.runs.provenance import Provenance

if TYPE_CHECKING:  # methods.base needs torch, which reading a record must not
    from razor_cli.contract.cost import Cost
    from razor_cli.contract.edit import Event

NOT_COMPUTED = "not computed: "
SCORE_COLUMNS = (
    "run_id",
    "model",
    "family",
    "stand_in",
    "scenario",
    "data",
    "target",
    "method",
    "state",
    "quantization",
    "metric",
    "variant",
    "value",
    "n",
    "ci_low",
    "ci_high",
    "unit",
    "direction",
    "seed",
    "judged_on",
    "reason",
    "attack",
    "step",
)
FORMER_COLUMNS = SCORE_COLUMNS[:-2]  # of records of format 1
EVENT_COLUMNS = (
    "run_id",
    "step",
    "action",
    "component",
    "kind",
    "tower",
    "phi",
    "weight_norm",
    "forget_norm",
    "retain_norm",
    "cosine",
    "step_size",
    "relative_step",
    "seconds",
    "note",
)
# The states there always were, in the order of reports; others come after them. oracle: retrained without the
# target; reseeded: base of another seed.
STATES = ("base", "control", "edit", "oracle", "reseeded")
STATE = re.compile(r"[a-z][a-z0-9_]*")
FORMAT = 2  # of run.json and scores.csv


class Place(NamedTuple):
    """What was measured: a state at a width, and of an attack on it which one, after how many steps."""

    state: str
    quantization: str
    attack: str = ""
    step: int | None = None


Where = TypeVar("Where", bound=tuple[Any, ...])  # a Place, or the beginning of one


def state_order(state: str) -> int:
    """Return where a state stands among others; those that are not known share the end."""
    return STATES.index(state) if state in STATES else len(STATES)


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
    gradient_cache_hits: int
    peak_mb: float
    run_seconds: float
    peak_rss_mb: float
    patch_bytes: int | None = None  # None: the method makes no patch

    @classmethod
    def of(cls, cost: Cost, *, run_seconds: float, peak_rss_mb: float, patch_bytes: int | None) -> CostRecord:
        """Return the record of an edit's cost and of the run around it."""
        return cls(**asdict(cost), run_seconds=run_seconds, peak_rss_mb=peak_rss_mb, patch_bytes=patch_bytes)


class Decision(StrEnum):
    """How a run ends when its scenario declares acceptance thresholds."""

    ACCEPTED = "ACCEPTED"
    REJECTED = "REJECTED"
    UNDECIDED = "UNDECIDED"


class Verdict(BaseModel):
    """The decision and, one sentence each, what it rests on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    decision: Decision
    reasons: list[str] = Field(default_factory=list)


class RunRecord(Identity):
    """run.json."""

    format: int = FORMAT
    settings: dict[str, object]
    overrides: dict[str, object] = Field(default_factory=dict)  # keys that its command line or grid set
    provenance: Provenance
    cost: CostRecord
    verdict: Verdict | None = None
    components: list[EditedComponent] = Field(default_factory=list)
    notes: list[str] = Field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One row of scores.csv without the columns that are the same in the whole file."""

    state: str
    quantization: str
    score: Score
    attack: str = ""
    step: int | None = None


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


def scores_csv(identity: Identity, scores: Mapping[Where, Sequence[Score]]) -> str:
    """Return the text of scores.csv; `scores` maps Places, at least (state, quantization), to what was
    measured there.

    A number that is not finite is no measurement: its row says so in `reason`. Raises RunError for a state
    that is no name.
    """
    rows = []
    for key, measured in scores.items():
        place = Place(*key)
        if not STATE.fullmatch(place.state):
            raise RunError(
                f"scores of a state '{place.state}' were recorded", allowed="lower-case letters, digits, _"
            )
        rows += [_score_cells(identity, place, score) for score in measured]
    return table_csv(SCORE_COLUMNS, rows)


def _score_cells(identity: Identity, place: Place, score: Score) -> dict[str, object]:
    value, reason = score.value, score.reason
    if value is not None and not math.isfinite(value):
        reason = f"the value is {float(value)!r}"
        value = None
    if reason and not reason.startswith(NOT_COMPUTED):
        reason = NOT_COMPUTED + reason
    low, high = (
        x if x is not None and value is not None and math.isfinite(x) else None
        for x in (score.ci_low, score.ci_high)
    )
    return identity.model_dump() | {
        **place._asdict(),
        "metric": score.metric,
        "variant": score.variant,
        "value": value,
        "n": score.n,
        "ci_low": low,
        "ci_high": high,
        "unit": score.unit,
        "direction": score.direction,
        "reason": reason,
    }


def events_csv(run_id: str, log: Sequence[Event]) -> str:
    """Return the text of edit_log.csv; validation metrics stand in columns before_<metric> and
    after_<metric>.
    """
    rows: list[dict[str, object]] = []
    for event in log:
        cells = asdict(event)
        for moment in ("before", "after"):
            cells |= {
                f"{moment}_{metric.replace('/', '_')}": value for metric, value in cells.pop(moment).items()
            }
        rows.append({"run_id": run_id, **cells})
    extra = sorted(
        {name for row in rows for name in row} - set(EVENT_COLUMNS), key=lambda n: (n.startswith("after_"), n)
    )
    return table_csv((*EVENT_COLUMNS, *extra), rows)


def table_csv(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """Return CSV text with `columns` as header; numbers in the shortest form that reads back to the same
    float.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)
    return out.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | str):
        return str(value).replace(
            "\r", " "
        )  # before Python 3.13 csv leaves a lone one unquoted, which breaks the row
    return repr(float(value))  # numpy's and torch's scalars print differently


def read_scores(text: str) -> list[ScoreRow]:
    """Return the rows of scores.csv. Raises RunError when its columns are not those of this version, or of
    format 1.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) not in (SCORE_COLUMNS, FORMER_COLUMNS):
        raise RunError(
            "scores.csv has other columns than this version writes", found=", ".join(reader.fieldnames or ())
        )
    return [_score_row(row) for row in reader]


def _score_row(row: Mapping[str, str]) -> ScoreRow:
    score = Score(
        metric=row["metric"],
        variant=row["variant"],
        value=_number(row["value"]),
        n=int(row["n"]),
        ci_low=_number(row["ci_low"]),
        ci_high=_number(row["ci_high"]),
        unit=row["unit"],
        direction=row["direction"],
        reason=row["reason"],
    )
    attack, step = row.get("attack", ""), row.get("step", "")
    place = Place(row["state"], row["quantization"], attack, int(step) if step else None)
    return ScoreRow(**place._asdict(), score=score)


def _number(text: str) -> float | None:
    return float(text) if text else None
