"""Table 7 of RAZOR: the ablation. What each loss, the selection and the iterations contribute; published
beside measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from razor_cli.runs.folder import Run
from razor_cli.tables.document import Document, Panel
from razor_cli.tables.hints import not_run
from razor_cli.tables.layout import KEY, Line, panel, plural
from razor_cli.tables.selection import Measure, by_model, flips, published, sample, usable, versions
from razor_cli.tables.table3 import MEASURES, OTHERS

TITLE = "RAZOR Table 7, ablation: published numbers beside measured ones"
FULL = "Full (All Losses + Iteration)"
ATTEMPTS = (
    "full, further attempts"  # they would step in for what a variant lacks, so all others are without them
)
PRESETS = ("razor", "razor_paper")
COST = (
    OTHERS,
    Measure(key="seconds", title="edit", unit="s", metric="cost.seconds", digits=1),
)


@dataclass(frozen=True, kw_only=True)
class Variant:
    """A row: its name, the printed row it stands beside, and the settings it flips; other flips are other
    runs.
    """

    name: str
    printed: str
    flips: tuple[tuple[str, object], ...] = ()


VARIANTS = (
    Variant(name="w/o retain", printed="Losses w/o Retain", flips=(("lambda_retain", 0.0),)),
    Variant(name="w/o mismatch", printed="Losses w/o Mismatch", flips=(("lambda_mismatch", 0.0),)),
    Variant(
        name="with mismatch",
        printed="",
        flips=(("lambda_mismatch", 0.1), ("mismatch_form", "squared"), ("mismatch_set", "retain")),
    ),
    Variant(name="w/o forget", printed="Losses w/o Forget", flips=(("lambda_forget", 0.0),)),
    Variant(
        name="no selection: all components", printed="All Losses, No Selection", flips=(("tau_mode", "all"),)
    ),
    Variant(
        name="no selection: random components",
        printed="All Losses, No Selection",
        flips=(("selector", "random"),),
    ),
    Variant(
        name="selected by φ", printed="", flips=(("selector", "phi"),)
    ),  # of the preset that ranks otherwise
    Variant(
        name="no iterations",
        printed="All Losses, No Iterations",
        flips=(("grow_rounds", 0), ("refresh_gradients", False)),
    ),
)
NOTES = (
    "Published: CIFAR-10, a real CLIP, five seeds, no spread. Measured: model, data and targets of each "
    "header, the recommended "
    "preset (razor) and the literal one (razor_paper), each with one part switched off. Δ is measured "
    "minus published.",
    "Further attempts of the recommended preset (retries) would step in for what a variant lacks, so its "
    "variants and its full "
    "row are its first attempt; the preset with all attempts stands below.",
    "The recommended preset has no mismatch term, so its full row is the row without it, and one row "
    "switches the term on: "
    "squared drift of retain pairs, as signed drift of forget pairs is the forget loss once more.",
    "The paper does not say what 'no selection' edits: measured are all components, and as many random ones.",
    "Published M3 without mismatch (1.04) and without selection (1.58) are the only values above 0.40. "
    "Its iterations gain 0.50 "
    "in M1 and 0.18 in M4 and leave M2, M3 and M5 as they were; its M2 without forgetting (28.42) equals "
    "SalUn's in Table 3.",
    *KEY,
)


def build(runs: Sequence[Run]) -> Document:
    """Return the ablation from recorded runs, found by what their settings differ in from the presets."""
    own = [
        r
        for r in usable(runs, plain=False)
        if r.record.method in PRESETS and r.record.scenario in ("class", "identity", "object")
    ]
    panels = []
    for scenario in ("class", "identity", "object"):
        for model, found in by_model([r for r in own if r.record.scenario == scenario]).items():
            for preset in PRESETS:
                chosen = [r for r in found if r.record.method == preset]
                if any(variant_of(r) not in (None, FULL, ATTEMPTS) for r in chosen):
                    panels.append(_panel(scenario, model, preset, chosen))
    if not panels:
        panels.append(
            panel("CIFAR-10 as published | nothing measured", ("variant", "preset"), _unmeasured(), MEASURES)
        )
    return Document(name="table7", title=TITLE, panels=panels, notes=[*NOTES, *versions(own)])


def variant_of(run: Run) -> str | None:
    """Return the row a run belongs to, None if it flips something else. A flip to what the preset has is no
    flip.
    """
    method = run.record.settings["method"]
    assert isinstance(method, dict)
    found = {k: v for k, v in flips(run).items() if k != "retries" or v}
    if method.get("retries"):
        return None if found else ATTEMPTS
    if not found:
        return FULL
    return next(
        (v.name for v in VARIANTS if found and found.items() <= dict(v.flips).items() and _whole(run, v)),
        None,
    )


def _whole(run: Run, variant: Variant) -> bool:
    """Tell whether a run's settings are those of the whole variant, also where the preset has some of them
    anyway.
    """
    method = run.record.settings["method"]
    assert isinstance(method, dict)
    return all(method.get(k) == v for k, v in variant.flips)


def _panel(scenario: str, model: str, preset: str, runs: list[Run]) -> Panel:
    data = runs[0].record.data
    printed = (
        {r["variant"]: r for r in published("razor_table7")}
        if (scenario, data) == ("class", "cifar10")
        else {}
    )
    kept = [r for r in runs if variant_of(r) is not None]
    ablated = {(r.record.target, r.record.seed) for r in kept if variant_of(r) not in (FULL, ATTEMPTS)}
    kept = [
        r for r in kept if (r.record.target, r.record.seed) in ablated
    ]  # the full row: the same targets and seeds
    lines = [_line("unedited", preset, kept, "base", {}, runs, "base")]
    for variant in VARIANTS:
        own = [r for r in kept if variant_of(r) == variant.name]
        if own or (variant.printed and printed):
            lines.append(_line(variant.name, preset, own, "edit", printed.get(variant.printed, {}), runs))
    full = [r for r in kept if variant_of(r) == FULL]
    lines.append(_line("full", preset, full, "edit", printed.get(FULL, {}), runs))
    if more := [r for r in kept if variant_of(r) == ATTEMPTS]:
        lines.append(_line(ATTEMPTS, preset, more, "edit", {}, runs))
    targets = sorted({r.record.target for r in kept})
    beside = "CIFAR-10 as published | " if printed else ""
    title = f"{beside}{model}, {scenario}, preset {preset}: {plural(len(targets), 'target', targets)}"
    return panel(title, ("variant", "preset"), lines, (*MEASURES, *COST), against=("full",))


def _line(
    name: str,
    preset: str,
    runs: list[Run],
    state: str,
    printed: dict[str, str],
    beside: list[Run],
    role: str = "method",
) -> Line:
    """Return a row; `beside` are the runs of its panel."""
    samples = {m.key: sample(runs, m, state=state) for m in (*MEASURES, *COST)}
    why = (
        "the preset has no such term"
        if name == "w/o mismatch" and preset == "razor"
        else not_run("table7", beside, scenario=beside[0].record.scenario, method=preset)
    )
    return Line(labels=(name, preset), role=role, name=name, samples=samples, printed=printed, why=why)


def _unmeasured() -> list[Line]:
    rows = [(v.name, v.printed) for v in VARIANTS if v.printed] + [("full", FULL)]
    printed = {r["variant"]: r for r in published("razor_table7")}
    why = not_run("table7", scenario="class", method="razor")
    return [Line(labels=(name, "razor"), printed=printed[text], why=why) for name, text in rows]
