"""The sweeps that the baselines' recommended settings were chosen by: recorded runs on validation pictures,
best first.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from razor_cli.config.conf_files import labelled
from razor_cli.runs.folder import Run
from razor_cli.tables.cells import Number, remark
from razor_cli.tables.compare import METHODS
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.flips import flipped, preset_settings, shown
from razor_cli.tables.layout import some
from razor_cli.tables.reached import MISSING, SHOWN, values_of
from razor_cli.tables.selection import conditions, versions
from razor_cli.tables.tan_shapes import METHODS as TAXONOMY

TITLE = "What every method's settings were chosen by"
HEADS = ("setting", remark("targets"))
COLUMNS = (*HEADS, remark("met"), "missing", *SHOWN, "seconds")
TRACED = {  # column of a run with a taxonomy: metric in distribution
    "D_f fine ↓ %": "df_fine",
    "D_r fine ↑ %": "dr_fine",
    "D_f coarse ↑ %": "df_coarse",
    "D_r coarse ↑ %": "dr_coarse",
    "Q ↑ %": "quality",
    "U ↑ %": "utility",
    "Q-U ↑ %": "q_u",
}
TRADEOFF = "Q-U ↑ %"
TRIED = (*METHODS, *(presets[0] for presets in TAXONOMY.values()))
NOTES = (
    "Every run is scored on validation pictures that the method did not see; no evaluation picture takes "
    "part.",
    "met: runs whose values keep all bounds of the scenario. missing: points by which the values miss "
    "them, added up, mean "
    "over targets; rows stand in this order, best first. A bound's points weigh the same for every method.",
    "Bold: what the rule chooses that the presets follow: least missing, where less than a point counts "
    "as equal; among equals "
    "the most targets met, then the higher M5, then the cheaper one. Where no setting forgets on every "
    "target (M1 mean at most "
    "55), nothing is bold.",
    "With a taxonomy the rule is one number: bold is the highest Q-U, mean over targets, and rows stand "
    "in this order.",
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

    @property
    def traced(self) -> bool:
        """Tell whether the target is one of a taxonomy, which is judged by Quality and Utility."""
        return TRADEOFF in self.values


def trials(runs: Sequence[Run]) -> list[Trial]:
    """Return the runs on validation pictures, the last one of each method, setting, model, weights, target
    and seed.
    """
    shipped = labelled("method")
    presets = {name: preset_settings(name) for name in TRIED if name in shipped}
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
        found = Trial(
            method=r.method,
            setting=setting,
            target=f"{r.scenario} {r.target}",
            model=model,
            values=values_of(run) | _traced(run),
        )
        newest[(found.method, setting, found.target, model, r.seed, r.provenance.weights_hash)] = found
    return list(newest.values())


def build(runs: Sequence[Run]) -> Document:
    """Return a panel per method and model; settings tried on fewer targets than others come last."""
    found = trials(runs)
    panels = []
    for method, traced in itertools.product(TRIED, (False, True)):
        for model in sorted({t.model for t in found if (t.method, t.traced) == (method, traced)}):
            own = [t for t in found if (t.method, t.traced, t.model) == (method, traced, model)]
            targets = sorted({t.target for t in own})
            title = f"{method} | {model} | {', '.join(targets)}"
            lines, best = (traced_rows(own), chosen_traced(own)) if traced else (rows(own), chosen(own))
            columns = (*HEADS, *TRACED, "seconds") if traced else COLUMNS
            bold = frozenset((i, 0) for i, line in enumerate(lines) if line[0] == best)
            panels.append(Panel(title=title, columns=columns, rows=lines, bold=bold, labels=1))
    notes = (
        [*NOTES]
        if panels
        else [*NOTES, "No run with judged_on=validation is recorded: razor-run experiment=tuning"]
    )
    notes += versions([r for r in runs if r.record.judged_on == "validation" and r.record.method in TRIED])
    return Document(name="tuning", title=TITLE, panels=panels, notes=notes)


def chosen(own: Sequence[Trial]) -> str | None:
    """Return the setting that the rule of the notes chooses, None where no setting forgets on
    every target.
    """
    settings = by_setting(own)
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
        return (
            sum(t.values[MISSING] == 0 for t in group),
            kept,
            -statistics.mean(t.values["seconds"] for t in group),
        )

    return max(equal, key=merit)


def rows(own: Sequence[Trial]) -> list[tuple[str, ...]]:
    """Return one row per setting, those on most targets first, then by missing points."""
    settings = by_setting(own)
    every = {t.target for t in own}
    lines = [(order(group), _row(setting, group, every)) for setting, group in settings.items()]
    return [line for _, line in sorted(lines)]


def order(group: Sequence[Trial]) -> tuple[float, float]:
    """Return what settings are ranked by: the number of targets, then the mean of the missing points."""
    missing = [t.values[MISSING] for t in group if MISSING in t.values]
    return -len(missing), statistics.mean(missing) if missing else float("inf")


def _number(values: Sequence[float], digits: int) -> str:
    if not values:
        return "–"
    return Number(f"{statistics.mean(values):.{digits}f}", statistics.mean(values), n=len(values))


def _on(group: Sequence[Trial], every: Collection[str]) -> str:
    """Return how many runs a setting has, and on which of the panel's targets it has none."""
    less = sorted(set(every) - {t.target for t in group})
    return str(len(group)) + (f", without {some(less)}" if less else "")


def _row(setting: str, group: Sequence[Trial], every: Collection[str]) -> tuple[str, ...]:
    judged = [t.values[MISSING] for t in group if MISSING in t.values]
    digits = {MISSING: 1} | {column: d for column, (_, _, d) in SHOWN.items()} | {"seconds": 1}
    means = []
    for column, d in digits.items():
        values = [t.values[column] for t in group if column in t.values]
        means.append(_number(values, d))
    return (setting, _on(group, every), f"{sum(v == 0 for v in judged)}/{len(judged)}", *means)


def by_setting(own: Sequence[Trial]) -> dict[str, list[Trial]]:
    """Return the trials of each setting."""
    settings: dict[str, list[Trial]] = {}
    for trial in own:
        settings.setdefault(trial.setting, []).append(trial)
    return settings


def traced_rows(own: Sequence[Trial]) -> list[tuple[str, ...]]:
    """Return one row per setting of runs with a taxonomy, those on most targets first, then by Q-U."""
    ranked = sorted(by_setting(own).items(), key=lambda found: (-len(found[1]), -_mean(found[1], TRADEOFF)))
    columns = {**dict.fromkeys(TRACED, 1), "seconds": 1}
    every = {t.target for t in own}
    return [
        (s, _on(g, every), *(_number([t.values[c] for t in g], d) for c, d in columns.items()))
        for s, g in ranked
    ]


def chosen_traced(own: Sequence[Trial]) -> str | None:
    """Return the setting with the highest Q-U among those tried on every target."""
    lines = traced_rows(own)
    return lines[0][0] if lines else None


def _mean(group: Sequence[Trial], column: str) -> float:
    return statistics.mean(t.values[column] for t in group)


def _traced(run: Run) -> dict[str, float]:
    """Return accuracies by fine and coarse label and what they come to; nothing without a taxonomy, or where
    one is missing.
    """
    found = {
        (row.score.metric, row.score.variant): row.score.value
        for row in run.scores
        if (row.state, row.quantization) == ("edit", "none")
    }
    values = {column: found.get((metric, "in")) for column, metric in TRACED.items()}
    return {c: v for c, v in values.items() if v is not None} if None not in values.values() else {}
