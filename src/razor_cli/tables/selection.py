"""Which recorded runs a table may use, and what of them: evaluation only, never two settings
under one name.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import PurePath
from typing import Any

from razor_cli.config.conf_files import labelled, settings_of
from razor_cli.runs.folder import Run
from razor_cli.runs.records import COMPARABLE
from razor_cli.tables.flips import flipped, shown
from razor_cli.tables.own_methods import told_apart

Sample = Mapping[tuple[str, int], float]  # (target, seed) -> value
WHOLE = "(model)"  # the row of survival.csv for all tensors together
UNEDITED = ("none", "random")  # methods that make no edit worth a row
EMBEDDED = {  # other data are a user's own
    "portraits": "standin",
    "emoji": "standin",
    "canvas": "standin",
    "cifar10": "cifar10",
}
BUILT_IN = {
    "metrics": "default",
    "quantization": "all",
}  # groups whose recorded settings do not say which option they are
PATHS = ("root", "retain_root", "names_file", "taxonomy", "prompts")  # shown by their last part
QUESTIONS = ("mme", "gqa", "mmbench")  # folders of question sets, shown likewise
UNCOUNTED = {  # settings that do not decide which numbers come out, and paths
    "data": ("_target_", *PATHS, "cifar_root", "celeba_root", "imagenet_root", "ood_root", "suite_roots"),
    "scenario": ("_target_", "name", "default_target", "acceptance"),
    "metrics": ("_target_", *QUESTIONS),
    "quantization": ("_target_", "schemes"),
}
NO_PHOTOGRAPHS = "retain: no CIFAR-10 here"  # how such a run's note begins


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One column of numbers: what it is called, where it is recorded, and which way is better (down, up,
    zero, none).

    `metric` names a score; `cost.<field>` a field of run.json's cost, `survival.<column>` a column of
    survival.csv's row of the whole model. `quantization` overrides the row's own width.
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
def _shipped(group: str, label: str, family: str) -> Mapping[str, Any]:
    option = labelled(group).get(label)
    return settings_of(group, option, family) if option else {}


def flips(run: Run) -> dict[str, object]:
    """Return the settings in which a run's method differs from the preset that it is named after."""
    method = run.record.settings.get("method")
    if not isinstance(method, Mapping):
        return {}
    return flipped(method, _shipped("method", run.record.method, run.record.family))


def conditions(run: Run, *, apart_from: Collection[str] = ()) -> tuple[str, ...]:
    """Return the settings of data, scenario, metrics and quantization in which a run differs from what ships.

    Runs of different ones are never averaged. `apart_from` names data settings that a table shows in its
    rows.
    """
    s = run.record.settings
    found: list[str] = []
    chosen = BUILT_IN | {"data": EMBEDDED.get(run.record.data, run.record.data)}
    for group in ("data", "scenario", "metrics", "quantization"):
        own = s.get(group)
        if isinstance(own, Mapping):
            option = chosen.get(group) or str(own.get("name"))
            counted = {k: v for k, v in own.items() if k not in {*UNCOUNTED[group], *apart_from}}
            if shipped := _shipped(group, option, run.record.family):
                found += [
                    f"{group}.{k}={shown(counted[k])}" for k, v in shipped.items() if counted.get(k, v) != v
                ]
            else:  # a user's own kind: what its file sets is not known
                found += [f"{group}.{k}={_short(shown(v))}" for k, v in counted.items()]
    data = s.get("data")
    if is_own(run) and isinstance(data, Mapping):
        found += [f"data.{k}={_path(str(data[k]))}" for k in PATHS if data.get(k)]
    asked = s.get("metrics")
    if isinstance(asked, Mapping):
        found += [f"metrics.{k}={_path(str(asked[k]))}" for k in QUESTIONS if asked.get(k)]
    if without_photographs(run):
        found.append("no photographs among retain")
    return tuple(found)


def without_photographs(run: Run) -> bool:
    """Tell whether a run's retain pictures have no photographs among them though the model knows some."""
    return any(note.startswith(NO_PHOTOGRAPHS) for note in run.record.notes)


def _short(text: str) -> str:
    return _path(text) if "/" in text else text


def _path(text: str) -> str:
    """Return the last part of a path, and a mark that tells equal names in different places apart."""
    return f"{PurePath(text).name} ({zlib.crc32(text.encode()):08x})"


def named(run: Run) -> str:
    """Return a method with the settings in which it differs from its preset."""
    differing = [f"{k}={shown(v)}" for k, v in flips(run).items()]
    return run.record.method + (f" ({', '.join(differing)})" if differing else "")


def is_own(run: Run) -> bool:
    """Tell whether a run's target was shown by a user's own pictures."""
    return run.record.data not in EMBEDDED


def usable(runs: Sequence[Run], *, plain: bool = True) -> list[Run]:
    """Return the runs that were judged on evaluation pictures, oldest first; `plain`: presets as they are
    only, and each setting of a user's own method under a name of its own (`own_methods.told_apart`).

    Of each point (model, weights, data and other conditions, method with its settings, target, seed) only
    runs of the code version that computed it last are left, and of these the last one with the same widths
    and control: a later version replaces an earlier one, and a run in full precision stands beside one with 8
    and 4 bit, it does not replace it.
    """
    points: dict[tuple[object, ...], dict[tuple[object, ...], Run]] = {}
    for run in _by_time(told_apart([r for r in runs if r.record.judged_on == "evaluation"])):
        r = run.record
        if plain and flips(run):
            continue
        place = (
            r.model,
            r.provenance.weights_hash,
            r.scenario,
            r.data,
            conditions(run),
            named(run),
            r.target,
            r.seed,
        )
        own = points.setdefault(place, {})
        if any(other.record.provenance.code_version != r.provenance.code_version for other in own.values()):
            own.clear()
        own[_asked(run)] = run
    return _by_time([run for own in points.values() for run in own.values()])


def of_this_format(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """Return the runs recorded in a format that this version's tables lay side by side, and a note on the
    others if there are any.
    """
    kept = [run for run in runs if run.record.format in COMPARABLE]
    others = len(runs) - len(kept)
    note = f"{others} runs are left out: their records are of another format; `razor show` prints them"
    return kept, [note] if others else []


def _by_time(runs: Iterable[Run]) -> list[Run]:
    return sorted(runs, key=lambda r: (r.record.provenance.finished, r.run_id))


def _asked(run: Run) -> tuple[object, ...]:
    """Return which widths and states a run was asked for."""
    quantization = run.record.settings.get("quantization")
    schemes = quantization.get("schemes") if isinstance(quantization, Mapping) else None
    return str(schemes), run.record.settings.get("control")


def by_model(runs: Sequence[Run], *, apart_from: Collection[str] = ()) -> dict[str, list[Run]]:
    """Return runs by what a panel's title says of their model: name, STAND-IN, and what else keeps runs
    apart.

    That is: weights where there are several of a name, whose pictures unless they are embedded ones, other
    conditions.
    """
    hashes: dict[str, set[str]] = {}
    for run in runs:
        hashes.setdefault(run.record.model, set()).add(run.record.provenance.weights_hash)
    found: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        r = run.record
        weights = f" [{r.provenance.weights_hash[:8]}]" if len(hashes[r.model]) > 1 else ""
        words = [f"{r.model}{weights}{' STAND-IN' if r.stand_in else ''}"]
        words += ([r.data] if is_own(run) else []) + list(conditions(run, apart_from=apart_from))
        found.setdefault((", ".join(words), r.data), []).append(run)
    several = {text for text, _ in found if sum(t == text for t, _ in found) > 1}
    return dict(sorted((f"{t}, {data}" if t in several else t, own) for (t, data), own in found.items()))


def versions(runs: Sequence[Run]) -> list[str]:
    """Return a note where runs of one method, on one family and kind of data, are of several versions of the
    code; other methods are other code anyway. Runs of several releases are said to be so.
    """
    codes: dict[tuple[str, ...], set[str]] = {}
    for r in (run.record for run in runs):
        codes.setdefault((r.family, r.data, r.method), set()).add(r.provenance.code_version)
    several = sorted({method for (*_, method), found in codes.items() if len(found) > 1})
    releases = sorted({run.record.provenance.package_version for run in runs})
    notes = []
    if several:
        notes.append(
            f"Runs of {', '.join(several)} were computed by several versions of the code; a difference may "
            "come from that."
        )
    if len(releases) > 1:
        notes.append(f"The runs were computed by several releases: {', '.join(releases)}.")
    return notes


def sample(
    runs: Sequence[Run], measure: Measure, *, state: str = "edit", quantization: str = "none"
) -> Sample:
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
    return run.values.get((state, quantization, measure.metric, measure.variant))


def survival(run: Run, scheme: str) -> dict[str, str]:
    """Return the whole model's row of survival.csv; empty for a run of a version that did not write it."""
    return next((r for r in run.survival if (r["scheme"], r["name"]) == (scheme, WHOLE)), {})


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) or (isinstance(value, str) and value) else None


def published(name: str) -> list[dict[str, str]]:
    """Return the rows of a shipped table of printed numbers, as printed."""
    text = resources.files("razor_cli.tables").joinpath(f"published/{name}.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def left_out(runs: Sequence[Run], used: Callable[[Run], bool]) -> list[str]:
    """Return a note on the runs that a table might have shown and did not: other settings, or judged on
    validation.
    """
    own = [r for r in runs if used(r)]
    validation = sum(r.record.judged_on != "evaluation" for r in own)
    flipped_names = sorted({named(r) for r in own if r.record.judged_on == "evaluation" and flips(r)})
    notes = [f"Left out: {validation} runs judged on validation pictures."] if validation else []
    if flipped_names:
        some = ", ".join(flipped_names[:4]) + (
            f" and {len(flipped_names) - 4} more" if len(flipped_names) > 4 else ""
        )
        notes.append(f"Left out: runs with settings other than their preset's: {some}.")
    return notes
