"""The sweeps that the baselines' recommended settings were chosen by: recorded runs on validation pictures, best first."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from razor_cli.conf_files import conf_dir
from razor_cli.results import Run
from razor_cli.tables.base import Document, Panel
from razor_cli.tables.compare import METHODS
from razor_cli.tables.readings import MISSING, SHOWN, flipped, preset_settings, shown, values_of
from razor_cli.tables.selection import conditions, versions

TITLE = "What every method's settings were chosen by"
COLUMNS = ("setting", "targets", "met", "missing", *SHOWN, "seconds")
NOTES = (
    "Every run is scored on validation pictures that the method did not see; no evaluation picture takes part.",
    "met: runs whose values keep all bounds of the scenario. missing: points by which the values miss them, added up, mean "
    "over targets; rows stand in this order, best first. A bound's points weigh the same for every method.",
    "Bold: what the rule chooses that the presets follow: least missing, where less than a point counts as equal; among equals "
    "the most targets met, then the higher M5, then the cheaper one. Where no setting forgets on every target (M1 mean at most "
    "55), nothing is bold.",
    "preset: conf/method/<method>.yaml as it ships. Settings are what differs from it.",
)


FORGOTTEN, KEPT = "M1 mean ↓ %", "M5 ↑ %"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One recorded run of a sweep."""

    method: str
    setting: str  # what differs from the preset, as the command line takes it
    target: str
    model: str
    values: Mapping[str, float]


def trials(runs: Sequence[Run]) -> list[Trial]:
    """Return the runs on validation pictures, the last one of each method, setting, model, weights, target and seed."""
    shipped = {file.stem for file in (conf_dir() / "method").glob("*.yaml")}
    presets = {name: preset_settings(name) for name in METHODS if name in shipped}
    newest: dict[tuple[object, ...], Trial] = {}
    for run in sorted(runs, key=lambda r: (r.record.provenance.finished, r.run_id)):
        r = run.record
        settings = r.settings.get("method")
        if r.judged_on != "validation" or r.method not in presets or not isinstance(settings, Mapping):
            continue
        differs = flipped(settings, presets[r.method])
        setting = " ".join(f"{k}={shown(v)}" for k, v in differs.items()) or "preset"
        model = r.model + (" STAND-IN" if r.stand_in else "")
        model += "".join(f", {c}" for c in conditions(run))
        found = Trial(method=r.method, setting=setting, target=f"{r.scenario} {r.target}", model=model, values=values_of(run))
        newest[(found.method, setting, found.target, model, r.seed, r.provenance.weights_hash)] = found
    return list(newest.values())


def build(runs: Sequence[Run]) -> Document:
    """Return a panel per method and model; settings tried on fewer targets than others come last."""
    found = trials(runs)
    panels = []
    for method in METHODS:
        for model in sorted({t.model for t in found if t.method == method}):
            own = [t for t in found if (t.method, t.model) == (method, model)]
            targets = sorted({t.target for t in own})
            title, lines = f"{method} | {model} | {', '.join(targets)}", rows(own)
            best = chosen(own)
            bold = frozenset((i, 0) for i, line in enumerate(lines) if line[0] == best)
            panels.append(Panel(title=title, columns=COLUMNS, rows=lines, bold=bold))
    notes = [*NOTES] if panels else [*NOTES, "No run with judged_on=validation is recorded: razor-run experiment=tuning"]
    notes += versions([r for r in runs if r.record.judged_on == "validation" and r.record.method in METHODS])
    return Document(name="tuning", title=TITLE, panels=panels, notes=notes)


def chosen(own: Sequence[Trial]) -> str | None:
    """Return the setting that the rule of the notes chooses, None where no setting forgets on every target."""
    settings: dict[str, list[Trial]] = {}
    for trial in own:
        settings.setdefault(trial.setting, []).append(trial)
    most = max(map(len, settings.values()), default=0)
    whole = {s: g for s, g in settings.items() if len(g) == most and all(MISSING in t.values for t in g)}
    forgetting = {s: g for s, g in whole.items() if all(t.values[FORGOTTEN] <= 55 for t in g)}
    if not forgetting:
        return None
    missing = {s: statistics.mean(t.values[MISSING] for t in g) for s, g in forgetting.items()}
    equal = [s for s, v in missing.items() if v < min(missing.values()) + 1]

    def merit(setting: str) -> tuple[float, ...]:
        group = forgetting[setting]
        kept = round(statistics.mean(t.values[KEPT] for t in group), 1)
        return sum(t.values[MISSING] == 0 for t in group), kept, -statistics.mean(t.values["seconds"] for t in group)

    return max(equal, key=merit)


def rows(own: Sequence[Trial]) -> list[tuple[str, ...]]:
    """Return one row per setting, those on most targets first, then by missing points."""
    settings: dict[str, list[Trial]] = {}
    for trial in own:
        settings.setdefault(trial.setting, []).append(trial)
    lines = [(order(group), _row(setting, group)) for setting, group in settings.items()]
    return [line for _, line in sorted(lines)]


def order(group: Sequence[Trial]) -> tuple[float, float]:
    """Return what settings are ranked by: the number of targets, then the mean of the missing points."""
    missing = [t.values[MISSING] for t in group if MISSING in t.values]
    return -len(missing), statistics.mean(missing) if missing else float("inf")


def _row(setting: str, group: Sequence[Trial]) -> tuple[str, ...]:
    judged = [t.values[MISSING] for t in group if MISSING in t.values]
    digits = {MISSING: 1} | {column: d for column, (_, _, d) in SHOWN.items()} | {"seconds": 1}
    means = []
    for column, d in digits.items():
        values = [t.values[column] for t in group if column in t.values]
        means.append(f"{statistics.mean(values):.{d}f}" if values else "–")
    return (setting, str(len(group)), f"{sum(v == 0 for v in judged)}/{len(judged)}", *means)
