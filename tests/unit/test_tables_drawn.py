"""The table of models that draw: pictures of all seeds together, every target, means over targets, costs."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import fake_run, scored

from razor_cli.metrics.score import Score
from razor_cli.metrics.stats import wilson
from razor_cli.runs.folder import complete_runs
from razor_cli.tables import drawn
from razor_cli.tables.document import Document, Panel

WIDTHS = ("none", "int8")


def shares(ua: float, ira: float, n: int = 96) -> list[Score]:
    given = {"ua": ua, "ua_valid": ua, "ira": ira, "cra": 100.0}
    return [scored((m, "benchmark", "%", "up"), v, None, None, n=n) for m, v in given.items()]


def record(
    outputs: Path, target: str, method: str, ua: float, seed: int = 0, family: str = "diffusion"
) -> None:
    extra = {("base", w): shares(0.0, 100.0) for w in WIDTHS}
    extra |= {("edit", w): shares(ua - i, 97.0) for i, w in enumerate(WIDTHS)}
    fake_run(
        outputs,
        target=target,
        method=method,
        seed=seed,
        family=family,
        scenario="style",
        data="canvas",
        model="sd_tiny",
        quantizations=WIDTHS,
        control=False,
        extra=extra,
    )


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Document:
    outputs = tmp_path_factory.mktemp("drawn")
    for seed, ua in ((0, 75.0), (1, 100.0)):
        record(outputs, "Noto", "razor", ua, seed)
    record(outputs, "Fluent", "razor", 50.0)
    record(outputs, "Noto", "uce", 25.0)
    record(outputs, "Monotone", "razor", 1.0, family="clip")
    return drawn.build(complete_runs(outputs))


def cells(panel: Panel, method: str, width: str = "none") -> dict[str, str]:
    (row,) = (r for r in panel.rows if r[:2] == (method, width))
    return dict(zip(panel.columns, row, strict=True))


def panel(document: Document, ending: str) -> Panel:
    (found,) = (p for p in document.panels if ending in p.title)
    return found


def test_a_target_counts_the_pictures_of_all_seeds_once(document: Document) -> None:
    noto = panel(document, "STAND-IN: Noto")
    found = wilson(72 + 96, 192)
    assert found.low is not None and found.high is not None
    low, high = 100 * found.low, 100 * found.high
    assert cells(noto, "razor")["UA ↑ %"] == f"87.5 [{low:.1f}, {high:.1f}] (192)"
    # RAZOR's and UCE's runs of seed 0 drew the same pictures of the unedited model
    assert cells(noto, "unedited")["UA ↑ %"].startswith("0.0 [0.0, ")
    assert cells(noto, "unedited")["UA ↑ %"].endswith(" (192)")
    assert cells(noto, "uce")["UA ↑ %"].endswith(" (96)")
    assert cells(noto, "razor", "int8")["UA ↑ %"].startswith("86.5 ")
    assert cells(noto, "razor")["near it ↑ %"] == "–"


def test_means_are_over_targets_with_costs_of_edits_only(document: Document) -> None:
    means = panel(document, "2 targets (Fluent, Noto), 2 seeds")
    assert cells(means, "razor")["UA ↑ %"].startswith("68.75")  # of 87.5 and 50, not of three runs
    assert cells(means, "razor")["edit ↓ s"] == "10.5" and cells(means, "unedited")["edit ↓ s"] == "–"
    assert cells(means, "razor")["runs"] == "3" and cells(means, "unedited")["runs"] == "3"


def test_models_that_draw_nothing_have_no_part(document: Document) -> None:
    assert not any("Monotone" in p.title for p in document.panels)
    assert drawn.build([]).panels[0].rows[0][2] == "no run recorded: razor-run experiment=drawn"
