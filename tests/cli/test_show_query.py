"""`razor show`, `razor query` and `razor tables` over recorded runs, as a person calls them."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest

from razor_cli.config.conf_files import settings_of
from razor_cli.main import razor_command
from razor_cli.runs.folder import Run

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # where the maker of runs lies
from fake_runs import fake_run


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """Record two runs under outputs/ of an empty folder and go there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    first = fake_run(Path("outputs"), target="Conan O'Brien", finished="2026-01-01T00:00:00.000+00:00")
    last = fake_run(
        Path("outputs"), target="Beyoncé", method="slug", finished="2026-02-01T00:00:00.000+00:00"
    )
    return {"first": first, "last": last}


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """Call `razor` and return what it printed; on the error stream if it must fail."""
    assert razor_command(list(arguments)) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err and (not err if code == 0 else not out)
    return out or err


def test_show_prints_the_latest_run_by_default(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "show")
    assert f'forget "Beyoncé" · slug · run {runs["last"].run_id}' in text and "Verdict: ACCEPTED" in text
    assert said(capsys, "show", "latest") == text == said(capsys, "show", runs["last"].run_id[:7])


def test_show_finds_a_run_by_beginning_and_by_folder(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "show", runs["first"].run_id[:7])
    assert 'forget "Conan O\'Brien"' in text
    assert said(capsys, "show", str(runs["first"].folder)) == text
    assert said(capsys, "show", runs["first"].run_id, "--output-dir", str(Path("outputs").resolve())) == text


def test_show_of_a_missing_run_says_what_there_is(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "show", "nothere", code=2)
    assert text.startswith("UserError: 'nothere' is the beginning of no run id under 'outputs'")
    assert all(
        part in text for part in ("found:", runs["first"].run_id, runs["last"].run_id, "fix:", "latest")
    )
    text = said(capsys, "show", "--output-dir", "elsewhere", code=2)
    assert "no complete run is recorded under 'elsewhere'" in text and "fix: run razor-run first" in text


def test_show_refuses_a_damaged_run(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    (runs["first"].folder / "scores.csv").write_text("")
    assert "holds no complete run" in said(capsys, "show", str(runs["first"].folder), code=2)
    assert razor_command(["show", "latest"]) == 0
    out, err = capsys.readouterr()
    assert "Beyoncé" in out and err.startswith("left out: outputs/runs/") and "scores.csv is not what" in err


def test_query_prints_a_table(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "query", "select target, peak_rss_mb, null as nothing from runs order by target")
    rows = [[c.strip() for c in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]
    assert rows == [["Beyoncé", "1234.5", ""], ["Conan O'Brien", "1234.5", ""]] and text.endswith("2 rows\n")


def test_brackets_in_names_are_printed_as_they_are(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "[/b] and [red]" in said(capsys, "query", "select '[/b] and [red]' as x")


def test_query_forms(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    sql = "select target, seed from runs order by target"
    expected = [{"target": "Beyoncé", "seed": 0}, {"target": "Conan O'Brien", "seed": 0}]
    assert json.loads(said(capsys, "query", sql, "--format", "json")) == expected
    rows = list(csv.DictReader(io.StringIO(said(capsys, "query", sql, "--format", "csv"))))
    assert [r["target"] for r in rows] == ["Beyoncé", "Conan O'Brien"]
    assert said(capsys, "query", sql, "--format", "markdown").splitlines()[2] == "| Beyoncé | 0 |"


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (
            ["query", "drop table runs"],
            ["UserError: razor query answers one reading", "allowed: select", "found: DROP"],
        ),
        (
            ["query", "select valeu from scores"],
            ["UserError", "valeu", "did you mean value?", "edit_log(run_id"],
        ),
        (
            ["query", "select 1", "--output-dir", "elsewhere"],
            ["no complete run is recorded under 'else", "fix: run razor-run"],
        ),
        (["query", "select 1", "--format", "xml"], ["xml", "markdown"]),
        (["tables", "table9"], ["ConfigError: there is no table 'table9'", "allowed: table3"]),
        (
            ["tables", "table3", "--format", "pdf"],
            ["there is no such form", "allowed: md, csv, tex, html, json"],
        ),
    ],
)
def test_errors_end_with_2_and_their_parts(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str], arguments: list[str], parts: list[str]
) -> None:
    text = said(capsys, *arguments, code=2)
    assert [p for p in parts if p not in text] == []


def test_tables_prints_one_form_and_writes_nothing(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    starts = {
        "md": "# RAZOR Table 3",
        "csv": "panel,row,metric",
        "tex": "\\begin{table}",
        "html": "<!doctype html>",
    }
    for form, start in starts.items():
        assert said(capsys, "tables", "table3", "--format", form).startswith(start)
    assert not Path("outputs/tables").exists()


def test_tables_writes_every_form(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "tables", "table3")
    assert text.startswith("# RAZOR Table 3") and "written: outputs/tables/table3.md" in text
    files = {p.name: p.read_bytes() for p in Path("outputs/tables").iterdir()}
    assert set(files) == {"index.html", *(f"table3.{form}" for form in ("md", "csv", "tex", "html"))}
    said(capsys, "tables", "table3", "--out", "other")
    assert {p.name: p.read_bytes() for p in Path("other").iterdir()} == files


def test_show_says_which_settings_differ(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shipped = settings_of("method", "razor", "clip")
    run = fake_run(Path("outputs"), flips=shipped, target="Ada", more={"quantization": {}})
    assert "settings  all as shipped" in said(capsys, "show", run.run_id)
    flips = {**shipped, "rho": 0.125, "floor": {**shipped["floor"], "m5": 90.0}}
    changed = {"seed": 4, "control": False, "scenario": {"_target_": "Scenario", "domain": "emoji"}}
    run = fake_run(Path("outputs"), flips=flips, more=changed, quantizations=("none",))
    line = next(x for x in said(capsys, "show", run.run_id).splitlines() if x.startswith("settings"))
    found = "seed=4 control=false scenario.domain=emoji method.rho=0.125 method.floor.m5=90"
    assert line.split()[1:] == found.split()


def test_show_as_json_and_markdown(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    run = runs["first"]
    found = json.loads(said(capsys, "show", run.run_id, "--format", "json"))
    assert (found["run_id"], found["target"], found["differing"]) == (run.run_id, "Conan O'Brien", {})
    assert len(found["scores"]) == len(run.measured) and found["scores"][0]["metric"] == "m1"
    page = said(capsys, "show", run.run_id, "--format", "md")
    assert page.startswith("# forget Conan O'Brien: razor\n") and "- verdict: ACCEPTED\n" in page
    assert "| edit int4 | 6.0 [2.8, 9.2] |" in page and "| visual.3.head2 | head | vision |" in page
    assert "xml" in said(capsys, "show", "--format", "xml", code=2)


def test_tables_as_json(runs: dict[str, Run], capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, "tables", "measured", "--format", "json"))
    assert found["name"] == "measured" and len(found["panels"]) == 2
    panel = found["panels"][0]
    assert {len(row) for row in panel["rows"]} == {len(panel["columns"])} and panel["columns"][0] == "run"
    assert said(capsys, "tables", "measured", "--format", "md").startswith("# What was measured")


def test_query_of_more_columns_than_find_room_prints_each_row_by_its_fields(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = said(capsys, "query", "select * from runs")
    assert "row 1" in text and "row 2" in text and "--format csv" in text
    assert f"run_id        {runs['first'].run_id}" in text and "┃" not in text
    assert "┃" in said(capsys, "query", "select run_id, method from runs")


def test_tables_of_a_folder_that_is_not_there_are_refused_and_make_none(
    runs: dict[str, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no complete run is recorded under 'nowhere'" in said(
        capsys, "tables", "table3", "--output-dir", "nowhere", code=2
    )
    assert not Path("nowhere").exists()
