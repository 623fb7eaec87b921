"""Which recorded runs a table may use, and what of them: evaluation only, never two settings under one name."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from razor_cli.conf_files import conf_dir, groups
from razor_cli.results import Run
from razor_cli.tables.readings import flipped, preset_settings, shown

Sample = Mapping[tuple[str, int], float]  # (target, seed) -> value
SURVIVAL = "survival.csv"
UNEDITED = ("none", "random")  # methods that make no edit worth a row
EMBEDDED = ("portraits", "emoji", "cifar10")  # all other data are a user's own pictures
PATHS = ("root", "cifar_root", "seed")  # data settings that say where pictures lie, and not which task it is


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column of numbers: what it is called, where it is recorded, and which way is better (down, up, zero, none).

    `metric` names a score; `cost.<field>` a field of run.json's cost, `survival.<column>` a column of survival.csv's row of the
    whole model. `quantization` overrides the row's own width.
    """

    key: str  # column of the published file
    title: str
    unit: str
    metric: str
    variant: str = ""
    direction: str = "none"
    quantization: str | None = None
    digits: int = 2
    scale: float = 1.0

    @property
    def heading(self) -> str:
        """Return title and unit."""
        return f"{self.title} {self.unit}".strip()


@cache
def _preset(method: str) -> Mapping[str, Any]:
    return preset_settings(method) if method in groups([conf_dir()]).get("method", []) else {}


def flips(run: Run) -> dict[str, object]:
    """Return the settings in which a run's method differs from the preset that it is named after."""
    method = run.record.settings.get("method")
    return flipped(method, _preset(run.record.method)) if isinstance(method, Mapping) else {}


@cache
def _data_preset(kind: str) -> Mapping[str, Any]:
    from razor_cli.conf_files import file_of, values

    return values(file_of("data", kind)) if kind in groups([conf_dir()]).get("data", []) else {}


def conditions(run: Run) -> tuple[str, ...]:
    """Return the data settings in which a run differs from its preset: runs of different ones are never averaged."""
    data = run.record.settings.get("data")
    if not isinstance(data, Mapping):
        return ()
    preset = _data_preset(str(data.get("kind")))
    known = {k: v for k, v in preset.items() if not k.endswith("_root") and k not in PATHS}
    return tuple(f"data.{k}={shown(data[k])}" for k, v in known.items() if k in data and data[k] != v)


def named(run: Run) -> str:
    """Return a method with the settings in which it differs from its preset."""
    differing = [f"{k}={shown(v)}" for k, v in flips(run).items()]
    return run.record.method + (f" ({', '.join(differing)})" if differing else "")


def is_own(run: Run) -> bool:
    """Tell whether a run's target was shown by a user's own pictures."""
    return run.record.data not in EMBEDDED


def usable(runs: Sequence[Run], *, plain: bool = True) -> list[Run]:
    """Return the runs that were judged on evaluation pictures, the last of each point; `plain`: presets as they are only.

    A point is model, weights, data, method with its settings, target and seed: a later version of the code replaces an
    earlier one, and a sweep over settings is no larger sample.
    """
    newest: dict[tuple[object, ...], Run] = {}
    for run in sorted(runs, key=lambda r: (r.record.provenance.finished, r.run_id)):
        r = run.record
        if r.judged_on == "evaluation" and not (plain and flips(run)):
            place = (r.model, r.provenance.weights_hash, r.scenario, r.data, conditions(run), named(run), r.target, r.seed)
            newest[place] = run
    return list(newest.values())


def by_model(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return runs by what a panel's title says of their model: name, STAND-IN, and what else keeps runs apart."""
    hashes: dict[str, set[str]] = {}
    for run in runs:
        hashes.setdefault(run.record.model, set()).add(run.record.provenance.weights_hash)
    found: dict[str, list[Run]] = {}
    for run in runs:
        r = run.record
        weights = f" [{r.provenance.weights_hash[:8]}]" if len(hashes[r.model]) > 1 else ""
        words = [f"{r.model}{weights}{' STAND-IN' if r.stand_in else ''}", *conditions(run)]
        found.setdefault(", ".join(words), []).append(run)
    return dict(sorted(found.items()))


def sample(runs: Sequence[Run], measure: Measure, *, state: str = "edit", quantization: str = "none") -> Sample:
    """Return the value of one measure by target and seed; runs that have none are left out."""
    values: dict[tuple[str, int], float] = {}
    for run in runs:
        value = _value(run, measure, state, measure.quantization or quantization)
        if value is not None:
            values[(run.record.target, run.record.seed)] = value * measure.scale
    return values


def _value(run: Run, measure: Measure, state: str, quantization: str) -> float | None:
    place, _, name = measure.metric.partition(".")
    if place == "cost":
        return _number(getattr(run.record.cost, name, None)) if state == "edit" else None
    if place == "survival":
        return _number(survival(run, quantization).get(name)) if state == "edit" else None
    for row in run.scores:
        if (row.state, row.quantization, row.score.metric, row.score.variant) == (
            state, quantization, measure.metric, measure.variant,
        ):  # fmt: skip
            return row.score.value
    return None


def survival(run: Run, scheme: str) -> dict[str, str]:
    """Return the whole model's row of survival.csv; empty for a run of a version that did not write it."""
    path = run.path(SURVIVAL)
    rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))) if path.is_file() else []
    return next((r for r in rows if (r["scheme"], r["name"]) == (scheme, "(model)")), {})


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) or (isinstance(value, str) and value) else None


def published(name: str) -> list[dict[str, str]]:
    """Return the rows of a shipped table of printed numbers, as printed."""
    text = resources.files("razor_cli.tables").joinpath(f"published/{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def left_out(runs: Sequence[Run], used: Callable[[Run], bool]) -> list[str]:
    """Return a note on the runs that a table might have shown and did not: other settings, or judged on validation."""
    own = [r for r in runs if used(r)]
    validation = sum(r.record.judged_on != "evaluation" for r in own)
    flipped_names = sorted({named(r) for r in own if r.record.judged_on == "evaluation" and flips(r)})
    notes = [f"Left out: {validation} runs judged on validation pictures."] if validation else []
    if flipped_names:
        some = ", ".join(flipped_names[:4]) + (f" and {len(flipped_names) - 4} more" if len(flipped_names) > 4 else "")
        notes.append(f"Left out: runs with settings other than their preset's: {some}.")
    return notes
