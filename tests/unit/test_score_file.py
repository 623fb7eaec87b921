"""Score files give the tables that the runs themselves give; pages get their tables between markers."""

from __future__ import annotations

import gzip
from pathlib import Path

import paper_runs
import pytest
import reading_runs
import test_tables
from fake_runs import fake_run

from razor_cli.config.conf_files import conf_dir, settings_of
from razor_cli.errors import ConfigError, RunError, UserError
from razor_cli.main import razor_command
from razor_cli.metrics.bounds import parse_bounds
from razor_cli.runs.folder import complete_runs
from razor_cli.tables import compare, in_page, quantization, score_file, table3, table7
from razor_cli.tables.base import render
from razor_cli.tables.registry import TABLES, builder
from razor_cli.tables.scores_read import is_read

FILES_OF_THEIR_OWN = ("figure6", "propositions", "measured")  # read more of a run than a score file keeps


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return recorded runs for every table: those that the tables' own tests invent."""
    folder = tmp_path_factory.mktemp("outputs")
    test_tables.record(folder)
    paper_runs.record_all(folder)
    for changes in ({}, {"rho": 0.25}, {"retries": []}):
        for target in ("Ada Quill", "Nils Abernath"):
            reading_runs.record(folder, target=target, changes=dict(changes), m1=33.33333)
    fake_run(folder, target="Tom Cruise", more={"control": False}, control=False, quantizations=("none",))
    return folder


@pytest.fixture(scope="module", params=["scores.csv", "scores.csv.gz"])
def file(request: pytest.FixtureRequest, outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("file") / request.param
    assert score_file.save(path, complete_runs(outputs)) == len(complete_runs(outputs))
    return path


@pytest.mark.parametrize("name", [n for n in TABLES if n not in FILES_OF_THEIR_OWN])
def test_table_of_a_score_file_is_the_table_of_the_runs(outputs: Path, file: Path, name: str) -> None:
    build = builder(name)
    assert render(build(score_file.load(file)), "md") == render(build(complete_runs(outputs)), "md")


def test_every_score_that_a_column_reads_is_kept() -> None:
    columns = [*compare.QUALITY, *compare.ORACLE, *table3.MEASURES, *table7.MEASURES]
    columns += quantization.measures("int8")
    named = {(m.metric, m.variant) for m in columns if not m.metric.startswith(("cost.", "survival."))}
    assert named and all(is_read(*pair) for pair in named)


SCORED = sorted(f.parent.name for f in (conf_dir() / "scenario").glob("*/clip.yaml"))  # the file is CLIP's


@pytest.mark.parametrize("scenario", SCORED)
def test_every_score_that_a_bound_asks_for_is_kept(scenario: str) -> None:
    for bound in parse_bounds(settings_of("scenario", scenario)["acceptance"]).values():
        assert is_read(bound.metric, bound.variant or "macro")


def test_the_same_runs_give_the_same_bytes_and_a_copy_of_a_copy_is_no_other(
    file: Path, tmp_path: Path
) -> None:
    again = tmp_path / file.name
    score_file.save(again, score_file.load(file))
    assert again.read_bytes() == file.read_bytes()


def test_own_pictures_are_not_kept(tmp_path: Path) -> None:
    fake_run(tmp_path, data="folder", more={"data": {"kind": "folder", "root": "somewhere/album"}})
    with pytest.raises(UserError, match="pictures of your own"):
        score_file.save(tmp_path / "scores.csv", complete_runs(tmp_path))
    fake_run(tmp_path, target="Lady Gaga")
    assert score_file.save(tmp_path / "scores.csv", complete_runs(tmp_path)) == 1
    assert "album" not in (tmp_path / "scores.csv").read_text()


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("scores.csv", b"a,b\n1,2\n", RunError),
        ("scores.csv", b"\xff\xfe", RunError),
        ("scores.csv.gz", b"a,b\n", RunError),
        ("scores.csv.gz", gzip.compress(b"x" * 999, mtime=0)[:20], RunError),
        ("scores.csv", None, UserError),
    ],
)
def test_another_file_is_refused(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(error):
        score_file.load(tmp_path / name)


BEHIND = "<!-- end -->\n\nmore <!-- end --> prose\n"
PAGE = f"# Results\n\nprose\n\n<!-- razor tables table3 -->\nwas here\n{BEHIND}"


def test_tables_are_written_between_markers_and_nothing_else_is_touched(outputs: Path) -> None:
    runs = complete_runs(outputs)
    text = in_page.filled(PAGE, runs)
    assert text.startswith("# Results\n\nprose\n\n<!-- razor tables table3 -->\n\n### RAZOR Table 3")
    assert text.endswith(BEHIND) and "was here" not in text
    assert in_page.filled(text, runs) == text and in_page.names(text) == ["table3"]
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert all(h.startswith(("### ", "#### ")) for h in headings[1:])


@pytest.mark.parametrize(
    ("page", "part"),
    [
        ("<!-- razor tables tabel3 -->\n<!-- end -->\n", "no table 'tabel3'"),
        ("<!-- razor tables table3 -->\ntext\n", "has no end"),
    ],
)
def test_markers_that_cannot_be_filled_are_refused(page: str, part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        in_page.filled(page, [])


def test_commands(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "scores.csv.gz", tmp_path / "page.md"
    page.write_text(PAGE, encoding="utf-8")
    assert razor_command(["tables", "scores", "--output-dir", str(outputs), "--out", str(file)]) == 0
    assert "runs)" in capsys.readouterr().out
    assert razor_command(["tables", "--scores", str(file), "--into", str(page)]) == 0
    assert page.read_text(encoding="utf-8") == in_page.filled(PAGE, complete_runs(outputs))
    assert razor_command(["tables", "table3", "--scores", str(file), "--format", "csv"]) == 0
    assert "Taylor Swift" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["table3", "--into", "page.md"], "leave table3 out"),
        (["--into", "nowhere.md"], "no such file"),
        (["scores", "--format", "md"], "--format prints one table"),
        (["table3", "--scores", "nowhere.csv"], "razor tables scores --out FILE"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(
    words: list[str], part: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert razor_command(["tables", *words]) == 2
    assert part in capsys.readouterr().err
