"""Every CLIP method on the same targets: forgetting, what else it damaged, distance to a retrained model,
cost.
"""

from __future__ import annotations

from collections.abc import Sequence

from razor_cli.runs.folder import Run
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import KEY, Line, panel, plural
from razor_cli.tables.own_methods import notes as own_notes
from razor_cli.tables.quantization import recovery
from razor_cli.tables.selection import UNEDITED, Measure, by_model, left_out, sample, usable, versions
from razor_cli.tables.table3 import MEASURES as FIVE
from razor_cli.tables.table3 import OTHERS

TITLE = "Every method on the same targets, measured"
METHODS = (
    "razor",
    "slug",
    "ssd",
    "salun",
    "lotus",
    "ft",
    "ga",
    "gaft",
    "gdiff",
    "ga_kl",
    "relabel",
    "me_gd",
    "task_vector",
    "npo_kl",
    "nhl_kl",
)
QUALITY = (
    *FIVE,
    Measure(key="m1g", title="M1 generic", unit="↓ %", metric="m1", variant="dual/generic", direction="down"),
    Measure(
        key="fa", title="FA top-1", unit="↓ %", metric="fa_top1", variant="all_classes", direction="down"
    ),
    OTHERS,
    recovery("int4", key="rec4", title="recovery at int4"),
)
ORACLE = (
    Measure(
        key="ojsd",
        title="JSD to retrained, forget",
        unit="↓ nats",
        metric="oracle_jsd",
        variant="forget",
        direction="down",
        digits=3,
    ),
    Measure(
        key="ojsr",
        title="JSD to retrained, retain",
        unit="↓ nats",
        metric="oracle_jsd",
        variant="retain",
        direction="down",
        digits=3,
    ),
    Measure(
        key="oagr",
        title="same best class",
        unit="↑ %",
        metric="oracle_top1_agreement",
        variant="forget",
        direction="up",
    ),
    Measure(key="rfjsd", title="RF-JSD", unit="nats", metric="rf_jsd", variant="class_mean", digits=3),
)
COST = (
    Measure(key="seconds", title="edit", unit="↓ s", metric="cost.seconds", digits=1),  # not compared: NOTES
    Measure(key="forwards", title="forward", unit="↓ 1000", metric="cost.forwards", scale=1e-3, digits=1),
    Measure(key="backwards", title="backward", unit="↓ 1000", metric="cost.backwards", scale=1e-3, digits=1),
    Measure(key="hits", title="gradients cached", unit="", metric="cost.gradient_cache_hits", digits=1),
    Measure(
        key="peak", title="edit's memory", unit="↓ MB", metric="cost.peak_mb", direction="down", digits=0
    ),
    Measure(
        key="patch",
        title="patch",
        unit="↓ KB",
        metric="cost.patch_bytes",
        direction="down",
        scale=2**-10,
        digits=0,
    ),
)
PANELS = (
    ("what was forgotten and kept", QUALITY),
    ("distance to a retrained model", ORACLE),
    ("cost of the edit", COST),
)
NOTES = (
    "Every method with the preset of its own name.",
    "Forwards and backwards count pictures sent through a tower, in thousands. Gradients of the unedited "
    "model come from a cache "
    "after the first run that needs them, so later runs with the same ones cost less time: time and passes "
    "depend on the order of runs, and are compared with nothing. `fresh=true` measures an edit by itself.",
    "another seed's base: an independently trained model that knows the target; its distance to the "
    "retrained one is what chance "
    "alone does.",
    *KEY,
)


def build(runs: Sequence[Run]) -> Document:
    """Return panels per scenario and model: quality, distance to the oracle where one was recorded, cost."""
    own = [r for r in usable(runs) if not r.record.scenario.startswith("fine_grained")]
    panels: list[Panel] = []
    for scenario in sorted({r.record.scenario for r in own}):
        for model, found in by_model([r for r in own if r.record.scenario == scenario]).items():
            panels += _panels(scenario, model, found)
    if not panels:
        panels = [panel("nothing measured", ("method",), _missing({}), FIVE)]
    return Document(
        name="compare",
        title=TITLE,
        panels=panels,
        notes=[*NOTES, *own_notes(own), *left_out(runs, lambda _: True), *versions(own)],
    )


def _panels(scenario: str, model: str, runs: list[Run]) -> list[Panel]:
    by_method: dict[str, list[Run]] = {}
    for run in runs:
        if run.record.method not in UNEDITED:
            by_method.setdefault(run.record.method, []).append(run)
    ordered = [m for m in METHODS if m in by_method] + sorted(set(by_method) - set(METHODS))
    targets = sorted({r.record.target for r in runs if r.record.method not in UNEDITED})
    found = []
    for what, measures in PANELS:
        bases = [
            Line(
                labels=(name,),
                role="base",
                name=name,
                samples={m.key: sample(runs, m, state=state) for m in measures},
            )
            for state, name in (
                ("base", "unedited"),
                ("oracle", "retrained without it"),
                ("reseeded", "another seed's base"),
            )
        ]
        lines = [line for line in bases if line.runs]
        for method in ordered:
            samples = {m.key: sample(by_method[method], m) for m in measures}
            lines.append(
                Line(
                    labels=(method,),
                    name=method,
                    samples=samples,
                    why="not recorded by this version's runs",
                )
            )
        if any(line.runs for line in lines if line.role == "method"):
            missing = _missing(by_method, scenario) if measures is QUALITY else []
            title = f"{what} | {model}, {scenario}: {plural(len(targets), 'target', targets)}"
            found.append(panel(title, ("method",), [*lines, *missing], measures, against=("razor",)))
    return found


def _missing(known: dict[str, list[Run]], scenario: str = "") -> list[Line]:
    if scenario not in ("class", "identity", ""):
        return []  # the experiment has no such targets
    runs = [run for own in known.values() for run in own]
    return [
        Line(labels=(m,), why=not_run("compare", runs, scenario=scenario, method=m))
        for m in METHODS
        if m not in known
    ]
