"""A score file: of many recorded runs just what tables read, small enough to be kept with the docs.

One CSV row per number, compressed where the file's name ends in .gz. What is the same in a whole run stands
in its first row only. Costs stand among the scores as `cost.<field>`, and what quantization did to the edit
as `survival.<column>`. Paths are not kept.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from razor_cli.config.settings import FRESH
from razor_cli.errors import RunError, UserError
from razor_cli.metrics.score import Score
from razor_cli.runs.folder import Run, write_atomic
from razor_cli.runs.provenance import Provenance, canonical_json
from razor_cli.runs.records import CostRecord, Decision, RunRecord, Verdict
from razor_cli.runs.rows import ScoreRow, table_csv
from razor_cli.tables.scores_read import is_read
from razor_cli.tables.selection import NO_PHOTOGRAPHS, UNCOUNTED, WHOLE, is_own, without_photographs

IDENTITY = (
    "run_id",
    "model",
    "family",
    "stand_in",
    "scenario",
    "data",
    "target",
    "method",
    "seed",
    "judged_on",
)
FORMAT = "format"  # of the run's record; tables leave other formats out
ORIGIN = ("package_version", "code_version", "weights_hash", "started", "finished")
RUN = (
    *IDENTITY,
    FORMAT,
    "verdict",
    *ORIGIN,
    "set_sizes",
    "data_fingerprints",
    "settings",
    "without_photographs",
)
NUMBER = (
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
)
COLUMNS = (*RUN, *NUMBER)
GROUPS = (
    "method",
    "data",
    "scenario",
    "metrics",
    "quantization",
)  # of settings, as far as tables look at them
ALONE = ("control", FRESH)  # settings that belong to no group
COST, SURVIVAL = "cost.", "survival."
SURVIVED = ("weights", "moved", "rel_update", "codes_changed")
SHORT = 12  # hex digits of a fingerprint, enough to tell sets apart
DIGITS = ".9g"  # of a number: more than tables need, so that they come out the same


class Kept(Run):
    """A run as a score file holds it: no folder, and of its numbers those that tables read."""

    def __init__(
        self, record: RunRecord, scores: list[ScoreRow], survival: list[dict[str, str]], file: Path
    ) -> None:
        super().__init__(file / record.run_id)  # below a file there is nothing
        self.record, self.scores, self.survival = record, scores, survival


def save(path: Path, runs: Sequence[Run]) -> int:
    """Write a score file and return the number of its runs; runs on a user's own pictures are left out.

    Raises UserError where none is left.
    """
    kept = sorted((r for r in runs if not is_own(r)), key=_place)
    if not kept:
        raise UserError(
            "there is no complete run whose scores can be kept",
            found=f"{len(runs)} runs, all of them on pictures of your own" if runs else "no run",
            fix="run razor-run first, or give --output-dir",
        )
    text = table_csv(COLUMNS, (row for run in kept for row in _rows(run)))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, gzip.compress(text.encode(), mtime=0) if path.suffix == ".gz" else text)
    return len(kept)


def load(path: Path) -> list[Run]:
    """Return the runs of a score file, for tables to read. Raises UserError or RunError for another file."""
    if not path.is_file():
        raise UserError(
            f"'{path}' is no score file",
            found="no such file",
            fix="razor tables scores --out FILE writes one",
        )
    content = path.read_bytes()
    try:
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RunError(f"'{path}' cannot be read as a score file: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) != COLUMNS:
        raise RunError(
            f"'{path}' has other columns than a score file of this version",
            found=", ".join(reader.fieldnames or ()),
            fix="razor tables scores --out FILE writes one",
        )
    return [_run(list(rows), path) for _, rows in groupby(reader, key=itemgetter("run_id"))]


def _place(run: Run) -> tuple[object, ...]:
    """Return what runs are sorted by: those of the same unedited model and pictures stand together."""
    r = run.record
    return r.model, r.scenario, r.data, r.target, r.seed, r.method, r.provenance.finished, r.run_id


def _rows(run: Run) -> Iterator[dict[str, object]]:
    shared = _shared(run)
    for number in (*_scores(run), *_costs(run), *_survived(run)):
        yield shared | number
        shared = {"run_id": run.run_id}


def _shared(run: Run) -> dict[str, object]:
    record, origin = run.record, run.record.provenance
    prints = {name: text[:SHORT] for name, text in origin.data_fingerprints.items()}
    return {
        **record.model_dump(include={*IDENTITY, FORMAT}),
        **origin.model_dump(include=set(ORIGIN)),
        "verdict": record.verdict.decision.value if record.verdict else None,
        "set_sizes": canonical_json(origin.set_sizes),
        "data_fingerprints": canonical_json(prints),
        "settings": canonical_json(_settings(run)),
        "without_photographs": without_photographs(run),
    }


def _settings(run: Run) -> dict[str, object]:
    """Return the settings that tables look at, without paths."""
    recorded = run.record.settings
    found: dict[str, object] = {k: recorded[k] for k in ALONE if k in recorded}
    for group in GROUPS:
        own = recorded.get(group)
        if isinstance(own, Mapping):
            found[group] = {k: v for k, v in own.items() if group != "data" or k not in UNCOUNTED["data"]}
    return found


def _scores(run: Run) -> Iterator[dict[str, object]]:
    for row in run.scores:
        score, numbers = row.score, [row.score.value, row.score.ci_low, row.score.ci_high]
        if score.value is not None and is_read(score.metric, score.variant):
            value, low, high = (None if x is None else _short(x) for x in numbers)
            yield {
                "state": row.state,
                "quantization": row.quantization,
                "metric": score.metric,
                "variant": score.variant,
                "value": value,
                "n": score.n,
                "ci_low": low,
                "ci_high": high,
                "unit": score.unit,
                "direction": score.direction,
            }


def _costs(run: Run) -> Iterator[dict[str, object]]:
    for name, value in run.record.cost.model_dump().items():
        if isinstance(value, int | float):
            yield {"state": "edit", "quantization": "none", "metric": COST + name, "value": _short(value)}


def _survived(run: Run) -> Iterator[dict[str, object]]:
    for row in run.survival:
        for column in SURVIVED if row["name"] == WHOLE else ():
            if row[column]:
                place: dict[str, object] = {
                    "state": "edit",
                    "quantization": row["scheme"],
                    "metric": SURVIVAL + column,
                }
                yield place | {"value": _short(float(row[column]))}


def _short(value: float) -> str:
    """Return a number in nine digits, a count in all of its own."""
    return str(int(value)) if value == int(value) else f"{value:{DIGITS}}"


def _run(rows: Sequence[Mapping[str, str]], file: Path) -> Kept:
    first = rows[0]
    cost = {r["metric"].removeprefix(COST): r["value"] for r in rows if r["metric"].startswith(COST)}
    record = RunRecord.model_validate(
        {
            **{name: first[name] for name in (*IDENTITY, FORMAT)},
            "settings": json.loads(first["settings"]),
            "provenance": _origin(first),
            "cost": CostRecord.model_validate(cost),
            "verdict": Verdict(decision=Decision(first["verdict"])) if first["verdict"] else None,
            "notes": [NO_PHOTOGRAPHS] if first["without_photographs"] == "true" else [],
        }
    )
    scores = [_score(r) for r in rows if not r["metric"].startswith((COST, SURVIVAL))]
    return Kept(record, scores, _survival(rows), file)


def _origin(row: Mapping[str, str]) -> Provenance:
    return Provenance(
        **{name: row[name] for name in ORIGIN},
        git_commit=None,
        python="",
        libraries={},
        platform="",
        device="",
        dtype="",
        threads=0,
        seed=int(row["seed"]),
        data_fingerprints=json.loads(row["data_fingerprints"]),
        set_sizes=json.loads(row["set_sizes"]),
    )


def _score(row: Mapping[str, str]) -> ScoreRow:
    value, low, high = (float(row[k]) if row[k] else None for k in ("value", "ci_low", "ci_high"))
    score = Score(
        metric=row["metric"],
        variant=row["variant"],
        value=value,
        n=int(row["n"]),
        ci_low=low,
        ci_high=high,
        unit=row["unit"],
        direction=row["direction"],
    )
    return ScoreRow(state=row["state"], quantization=row["quantization"], score=score)


def _survival(rows: Iterable[Mapping[str, str]]) -> list[dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        if row["metric"].startswith(SURVIVAL):
            empty = {"scheme": row["quantization"], "name": WHOLE, **dict.fromkeys(SURVIVED, "")}
            found.setdefault(row["quantization"], empty)[row["metric"].removeprefix(SURVIVAL)] = row["value"]
    return list(found.values())
