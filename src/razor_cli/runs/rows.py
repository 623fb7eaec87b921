"""The rows of scores.csv and edit_log.csv: columns, and how values are written and read back."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from razor_cli.contract.place import Place
from razor_cli.errors import RunError
from razor_cli.metrics.score import Score

if TYPE_CHECKING:  # the first needs torch, which reading a record must not
    from razor_cli.contract.edit import Event
    from razor_cli.runs.records import Identity

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
# On the way to an edit of several targets: the model after so many of them; one of them by itself.
STEP, ALONE = "step_", "alone_"
STATE = re.compile(r"[a-z][a-z0-9_]*")


Where = TypeVar("Where", bound=tuple[Any, ...])  # a Place, or the beginning of one


def state_order(state: str) -> int:
    """Return where a state stands among others; those that are not known share the end. What is on the way
    to the edit stands with it.
    """
    if on_the_way(state):
        return STATES.index("edit")
    return STATES.index(state) if state in STATES else len(STATES)


def on_the_way(state: str) -> int:
    """Return which of several targets a state on the way to the edit is about, 0 for another state."""
    for beginning in (STEP, ALONE):
        number = state.removeprefix(beginning)
        if number != state and number.isdigit():
            return int(number)
    return 0


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """One row of scores.csv without the columns that are the same in the whole file."""

    state: str
    quantization: str
    score: Score
    attack: str = ""
    step: int | None = None


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
