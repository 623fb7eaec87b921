"""The report's block on states that were asked without the prompt: base and edit under each probe."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from razor_cli.families.diffusion.layout import ASKED_ELSE
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import wilson
from razor_cli.report.blocks import print_attacked
from razor_cli.report.cells import Words
from razor_cli.runs.rows import ScoreRow


def ua(lost: int) -> Score:
    return scored("ua", "benchmark", wilson(lost, 20).scaled(100))


def row(state: str, attack: str, score: Score, step: int | None = None) -> ScoreRow:
    return ScoreRow(state=state, quantization="none", score=score, attack=attack, step=step)


def printed(*rows: ScoreRow) -> list[str]:
    file = io.StringIO()
    print_attacked(Console(file=file, width=140, legacy_windows=False), Words(False), ASKED_ELSE, rows)
    return [" ".join(line.split()) for line in file.getvalue().splitlines()]


def test_base_stands_above_edit_and_oracle_under_each_probe_with_intervals() -> None:
    lines = printed(
        row("edit", "completion", ua(15)),
        row("base", "completion", ua(1)),
        row("oracle", "completion", ua(18)),
        row("edit", "inversion", ua(4), 200),
        row("base", "inversion", ua(2), 200),
    )
    shown = [line for line in lines if line.startswith(("completion", "inversion"))]
    assert shown == [
        "completion: base 5.0 [0.9, 23.6]",
        "completion: edit 75.0 [53.1, 88.8]",
        "completion: oracle 90.0 [69.9, 97.2]",
        "inversion (200 steps): base 10.0 [2.8, 30.1]",
        "inversion (200 steps): edit 20.0 [8.1, 41.6]",
    ]
    assert not any("says nothing" in line or "trained without" in line for line in lines)


def test_a_probe_that_the_unedited_model_does_not_answer_is_warned_of() -> None:
    lines = printed(
        row("base", "tokens", ua(19), 200),
        row("edit", "tokens", ua(20), 200),
        row("base", "completion", ua(10)),
        row("edit", "completion", ua(20)),
        row("base", "tokens", replace(ua(0), variant="benchmark/spared"), 200),
    )
    (warning,) = (line for line in lines if "says nothing of the edit" in line)
    assert warning.startswith("tokens (200 steps) finds the target in only 5.0 [0.9, 23.6] %")
    assert any("no model that was trained without the target" in line for line in lines)


def test_a_probe_that_could_not_be_asked_has_its_reason_and_no_warning() -> None:
    lines = printed(row("base", "tokens", missing("ua", "benchmark", "a prompt is too long"), 200))
    assert any("a prompt is too long" in line for line in lines)
    assert not any("says nothing" in line for line in lines)


def test_rows_without_an_attack_print_nothing() -> None:
    assert printed(row("base", "", ua(1))) == []
