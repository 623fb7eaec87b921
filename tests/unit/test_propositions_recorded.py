"""The propositions of one target from its edit to the table, and what the command does with them."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from tiny_world import bits, make_sets

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.main import razor_command
from razor_cli.runs.rows import table_csv
from razor_cli.studies import proposition_measures as on_model
from razor_cli.studies import propositions_run as driver
from razor_cli.studies.finding import Outcome
from razor_cli.tables.flips import preset_settings
from razor_cli.tables.propositions import build, read_rows

SETS = make_sets()


def test_one_target_from_edit_to_table(clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ClipSpec, "open", lambda _: clip)
    monkeypatch.setattr(driver, "sets_of", lambda _: SETS)
    monkeypatch.setattr(on_model, "RHOS", (0.25, 0.5, 1.0))
    monkeypatch.setattr(on_model, "SCALED", 2)
    monkeypatch.setattr(driver, "code_version", lambda *_: "c0de" * 4)
    words = ["judged_on=validation", "target=Ada", f"output_dir={tmp_path}", "method=razor"]
    words += ["method.grow_rounds=0", "method.search_steps=2", "method.trim_steps=0"]
    experiment, before = checked(read(words)), bits(clip)

    def stage(_: str) -> Any:
        return nullcontext(lambda _: None)

    path, computed = driver.measured(experiment, stage)
    assert computed and path.with_suffix(".json").is_file() and bits(clip) == before
    content = path.read_bytes()
    monkeypatch.setattr(driver, "of_target", None)  # nothing is measured again
    assert driver.measured(experiment, stage) == (path, False) and path.read_bytes() == content
    rows = read_rows(tmp_path)
    assert {r["proposition"] for r in rows} == {"P1", "P2", "P3", "P4"} and {r["id"] for r in rows} == {
        path.stem
    }
    document = build(rows)
    assert sum(len(panel.rows) for panel in document.panels[1:]) == sum(bool(r["outcome"]) for r in rows)
    assert {cell for panel in document.panels[1:] for row in panel.rows for cell in row[4:5]} <= set(Outcome)


def recorded(
    folder: Path, name: str, finished: str, model: str = "clip_tiny", stand_in: str = "true", **method: Any
) -> None:
    """Write one claim as the driver does."""
    row = dict.fromkeys(driver.COLUMNS, "") | {
        "id": name,
        "model": model,
        "stand_in": stand_in,
        "scenario": "identity",
        "target": "Ada Quill",
        "method": "razor",
        "seed": "0",
        "judged_on": "validation",
        "proposition": "P1",
        "claim": "needed",
        "outcome": "HOLDS",
    }
    (folder / "propositions").mkdir(exist_ok=True)
    (folder / "propositions" / f"{name}.csv").write_text(table_csv(driver.COLUMNS, [row]))
    origin = {"weights_hash": model * 4, "finished": finished}
    settings = {"method": preset_settings("razor") | method, "data": {"n_forget": 60}}
    text = json.dumps({"settings": settings, "provenance": origin}, default=str)
    (folder / "propositions" / f"{name}.json").write_text(text)


def test_recorded_claims_are_counted_once_by_model_and_settings(tmp_path: Path) -> None:
    recorded(tmp_path, "a", "2026-01-01")
    recorded(tmp_path, "b", "2026-01-02")  # the same, of a later version of the code
    recorded(tmp_path, "c", "2026-01-03", trim_steps=0)
    recorded(tmp_path, "d", "2026-01-04", model="clip_vitb32", stand_in="false")
    rows = read_rows(tmp_path)
    assert sorted((r["id"], r["method"]) for r in rows) == [
        ("b", "razor"),
        ("c", "razor (trim_steps=0)"),
        ("d", "razor"),
    ]
    counts = {
        p.title: [(r[2], r[3]) for r in p.rows] for p in build(rows).panels if p.title.startswith("How often")
    }
    assert counts == {
        "How often | clip_tiny STAND-IN": [("razor", "1"), ("razor (trim_steps=0)", "1")],
        "How often | clip_vitb32": [("razor", "1")],
    }


def test_only_razor_has_these_propositions(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="propositions are RAZOR's"):
        driver.measured(checked(read(["method=slug", f"output_dir={tmp_path}"])), nullcontext)  # type: ignore[arg-type]


def test_the_command_prints_what_is_recorded_and_checks_before_it_measures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert razor_command(["propositions", "--recorded", "--output-dir", str(tmp_path)]) == 0
    assert "Nothing is recorded: razor propositions" in capsys.readouterr().out
    folder = ["--output-dir", str(tmp_path)]
    assert (
        razor_command(["propositions", "method=razor", "target=Nobody At All", "scenario=identity", *folder])
        == 2
    )
    assert "Nobody At All" in capsys.readouterr().err
    assert razor_command(["propositions", "--recorded", "--format", "pdf", *folder]) == 2
