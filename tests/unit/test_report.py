"""The report of a run: everything is there at every width, nothing is wider than the terminal, in any
encoding.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import fake_runs
import pytest
from fake_runs import fake_run
from rich.cells import cell_len
from rich.console import Console

from razor_cli.contract.cost import Pass
from razor_cli.errors import RazorError
from razor_cli.metrics.score import Score
from razor_cli.progress import Progress
from razor_cli.report.blocks import chunks
from razor_cli.report.cells import heading, interval, number
from razor_cli.report.terminal import print_report
from razor_cli.runs.folder import Run
from razor_cli.runs.known import find_run
from razor_cli.runs.records import EditedComponent

WIDTHS = (80, 100, 140)
STATES = [f"{state}{width}" for state in ("base", "control", "edit") for width in ("", " int8", " int4")]
ORIGINAL = fake_runs.measured
HARD = "Zoë «Conan» O'Brien [bold]not markup[/bold] 王小明 " + "unbreakable" * 9


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return fake_run(tmp_path / "outputs", target="Beyoncé")


def printed(run: Run, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, newline="\n")
    print_report(Console(file=file, width=width, legacy_windows=False), run)
    file.flush()
    return raw.getvalue().decode(encoding)


def with_a_gap(state: str, quantization: str, offset: float) -> list[Score]:
    """Return what a fake run measures, with the mean drop of the edit missing."""
    scores = ORIGINAL(state, quantization, offset)
    missing: dict[str, Any] = {
        "value": None,
        "ci_low": None,
        "ci_high": None,
        "reason": "no picture of others",
    }
    return [replace(s, **missing) if s.metric == "others_acc_drop" and state == "edit" else s for s in scores]


def words(text: str) -> str:
    """Return the text with lines joined and spaces folded: what was printed, wherever it was wrapped."""
    return " ".join(text.split())


def blocks(text: str, title: str) -> list[list[str]]:
    """Return the tables that stand under a title, each as its lines: heading, unit, rule, rows."""
    tables: list[list[str]] = []
    lines = text[text.index(title) :].splitlines()[1:]
    for i, line in enumerate(lines):
        if line.startswith(("What ", "Edited ", "recovery")):
            break
        if line.startswith("weights"):
            tables.append([lines[i - 1]])
        if tables:
            tables[-1].append(line)
    return tables


@pytest.mark.parametrize("width", WIDTHS)
def test_every_state_and_width_has_a_row_in_every_table(run: Run, width: int) -> None:
    text = printed(run, width)
    for title in ("What was forgotten", "What was kept"):
        tables = blocks(text, title)
        assert tables
        for table in tables:
            labels = [line.split("  ")[0].strip() for line in table]
            assert [x for x in labels if x.split(" ")[0] in ("base", "control", "edit")] == STATES


@pytest.mark.parametrize("width", WIDTHS)
def test_headings_carry_arrows_and_units(run: Run, width: int) -> None:
    text = printed(run, width)
    found: dict[str, str] = {}
    for title in ("What was forgotten", "What was kept"):
        for table in blocks(text, title):
            names, units = ([c.strip() for c in line.split("  ") if c.strip()] for line in table[:2])
            found |= dict(zip(names, units[1:], strict=True))
    assert found == {
        "M1 mean prompt": "↓ %",
        "M1 generic": "↓ %",
        "M2 similarity": "↓ cos ×100",
        "M3 drift": "→0 cos² ×100",
        "M4 generic": "↑ %",
        "M5 retrieval": "↑ %",
        "others' accuracy": "↑ %",
        "cifar10": "↑ %",
        "emoji held out": "↑ %",
    }


@pytest.mark.parametrize("width", WIDTHS)
def test_numbers_stand_in_the_row_and_column_they_belong_to(run: Run, width: int) -> None:
    first = blocks(printed(run, width), "What was forgotten")[0]
    cells = {line.split("  ")[0]: line for line in first}
    assert "96.5 [93.2, 99.8]" in cells["base"] and "97.5 [94.2, 100.0]" in cells["base"]
    assert "4.5 [1.2, 7.8]" in cells["edit"] and cells["edit"].index("4.5 [") < cells["edit"].index("5.5 [")
    assert "6.0 [2.8, 9.2]" in cells["edit int4"] and "97.5 [94.2, 100.0]" in cells["control int4"]


def test_a_step_size_is_shown_where_no_relative_step_was_logged(run: Run) -> None:
    """A method that logs no more than `step_size` finds it in the table, and no column of dashes."""
    for logged, found in (
        ({"step_size": 0.25}, "component kind step size ──── visual.3.head2 vision head 0.25"),
        (
            {"phi": 1.5, "step_size": 0.25},
            "component kind φ step size ──── visual.3.head2 vision head 1.5 0.25",
        ),
        ({}, "component kind ──── visual.3.head2 vision head Cost"),
    ):
        part = EditedComponent(name="visual.3.head2", kind="head", tower="vision", **logged)
        run.record = run.record.model_copy(update={"components": [part]})
        assert found in re.sub("─+", "────", words(printed(run, 80)))


@pytest.mark.parametrize("width", WIDTHS)
def test_everything_else_is_said(run: Run, width: int) -> None:
    text = words(printed(run, width))
    for part in (
        'forget "Beyoncé" · razor · run ' + run.run_id,
        "STAND-IN: small, trained by this project; its numbers say nothing about a real model",
        "identity, portraits: 60 forget, 400 retain, 60 evaluation forget",
        "cpu, float32, 2 threads, seed 0, 2026-01-02",
        "Verdict: ACCEPTED",
        "M1 generic 5.5 [2.2, 8.8] ≤ 55 under none, int8, int4",
        "Edited components (1)",
        "visual.3.head2 vision head 1.25 3.12",
        "Cost edit 10.5 s = gradients 4.2 + search 5.0 + rest 1.2",
        "12,345 pictures forward, 460 backward; 96 trials scored",
        "55.5 s in all, peak memory 1,234 MB, patch 5 bytes",
        "memory budget 8.0 GB (8GB); gradient of cosine 32 at once, 38.5 MB each",
        f"Files: outputs/runs/identity/razor/{run.run_id}/",
        "edit_log.csv patch.safetensors resolved_config.yaml run.json scores.csv",
        "– [1]",
        "[1] not computed: there is no drift without an edit",
    ):
        assert part in text
    others = text[
        text.index("What the edit did to the others (accuracy, points)") : text.index("Edited components")
    ]
    assert (
        "worst drop ↓ of which concept" in others and others.count("Beyoncé") == 8
    )  # all states but the plain base


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_no_line_is_wider_than_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, encoding: str
) -> None:
    monkeypatch.chdir(tmp_path)
    text = printed(fake_run(tmp_path / "out", target=HARD, parts=20), width, encoding)
    assert [line for line in text.splitlines() if cell_len(line) > width] == []
    assert "[bold]not markup[/bold]" in words(text) and "and 8 more, all in run.json" in text


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-8",
        pytest.param("ascii"),
    ],
)
def test_terminal_too_narrow_for_a_column_cuts_it(run: Run, encoding: str) -> None:
    text = printed(run, 34, encoding)
    assert [
        line for line in text.splitlines() if cell_len(line) > 34 and not line.startswith("Files: ")
    ] == []


def test_an_adaptive_pass_has_a_line_that_says_what_it_used(tmp_path: Path) -> None:
    used, there = {"forget": 240, "retain": 988}, {"forget": 240, "retain": 7900}
    ended = Pass(used=used, there=there, same=True, cosine=0.91, looks=1, stopped_early=True)
    unseen = Pass(used={"forget": 12}, there={"forget": 12})
    cost = replace(fake_runs.COST, passes=(ended, unseen))
    text = words(printed(fake_run(tmp_path, cost=cost), 140))
    assert "15% of a gradient pass, 240 of 240 forget + 988 of 7,900 retain pairs: ended early" in text
    assert "100% of a gradient pass, 12 of 12 forget pairs: went to the end, no halves were compared" in text


def test_no_concept_is_named_as_hit_where_none_dropped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unhurt(state: str, quantization: str, offset: float) -> list[Score]:
        scores = ORIGINAL(state, quantization, offset)
        return [replace(s, value=0.0) if s.metric == "others_worst" and s.value else s for s in scores]

    monkeypatch.setattr(fake_runs, "measured", unhurt)
    text = printed(fake_run(tmp_path / "outputs"), 100)
    others = text[text.index("What the edit did to the others") : text.index("Edited components")]
    assert "0.0" in others and "Beyoncé" not in others


def test_console_without_unicode_gets_ascii_words(run: Run) -> None:
    text = printed(run, 100, "ascii")
    assert 'forget "Beyonc\\xe9"' in text
    for part in ("(down) cos x100", "(to 0) cos^2 x100", "(up) %", "phi", "<= 55", "- [1]"):
        assert part in text
    assert "?" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_printing_twice_prints_the_same(run: Run, width: int) -> None:
    again = find_run(Path("outputs"), "latest")
    assert printed(run, width) == printed(run, width) == printed(again, width)


def test_report_of_a_real_model_says_nothing_of_stand_ins(tmp_path: Path) -> None:
    assert "STAND-IN" not in printed(fake_run(tmp_path, model="clip_vitb32", stand_in=False), 100)


def test_damaged_scores_are_an_error_of_ours(run: Run) -> None:
    (run.folder / "scores.csv").write_text("a,b\n")
    with pytest.raises(RazorError, match=r"scores\.csv is not what DONE vouches for"):
        printed(Run(run.folder), 80)


@pytest.mark.parametrize(
    "name",
    [
        "Beyoncé",
        pytest.param("A [red] B[/b]"),
    ],
)
def test_stages_are_printed_with_the_names_in_them(name: str) -> None:
    file = io.StringIO()
    with Progress(Console(file=file, width=100)).stage(f"forgetting {name}") as say:
        say(f"component of {name}")
    assert re.fullmatch(rf"forgetting {re.escape(name)} \d+\.\d s\n", file.getvalue())


def test_footnotes_of_the_others_point_to_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_runs, "measured", with_a_gap)
    text = printed(fake_runs.fake_run(tmp_path), 100)
    others = text[text.index("What the edit did to the others") : text.index("Edited components")]
    assert "not computed: no picture of others" in others


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (4.25, "%", "4.2"),
        (-0.04, "%", "0.0"),
        (-0.06, "points", "-0.1"),
        (0.125, "cos x100", "0.12"),
        (-0.001, "cos", "0.00"),
    ],
)
def test_numbers(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_intervals_and_headings_of_single_scores() -> None:
    bare = Score(
        metric="m2",
        variant="",
        value=1.0,
        n=1,
        ci_low=None,
        ci_high=None,
        unit="cos x100",
        direction="chance",
    )
    assert interval(bare) == "" and heading("A", None) == "A"
    assert heading("A", bare) == "A\n→ chance cos ×100"


def test_columns_are_cut_into_equal_groups_that_fit() -> None:
    assert chunks([10, 10, 10, 10], 48) == [[0, 1, 2, 3]]
    assert chunks([10, 10, 10, 10], 47) == [[0, 1], [2, 3]]
    assert chunks([10, 99, 10], 20) == [[0], [1], [2]] and chunks([], 10) == []
