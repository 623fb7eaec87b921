"""The index beside the runs: the same answers as from the folders, whatever happened to either."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import as_format_1, fake_run, percent
from test_vouched import TEXTS, flip, newer

from razor_cli.errors import UserError
from razor_cli.main import razor_command
from razor_cli.runs import index, indexing, known
from razor_cli.runs.archive import answer
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.runs.known import find_run, known_runs
from razor_cli.tables.base import render
from razor_cli.tables.registry import builder
from razor_cli.tables.scores_read import is_read

QUERIES = (
    "select * from scores order by all",
    "select * from edit_log order by all",
    "select * from runs",
    "describe runs",
    "select r.target, avg(value) from runs r join scores s using (run_id) group by 1 order by 1",
)


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Write the index for a single run, however fresh."""
    monkeypatch.setattr(known, "MANY", 1)
    monkeypatch.setattr(indexing, "SETTLED", 0)


NAMES = ("Conan O'Brien", "None", "a,\nb", "王小明", "Bo")


def record(folder: Path) -> list[Run]:
    """Record runs that differ in what the index keeps."""
    again = percent("m1", "dual/generic", "down", 50.0)
    attacked = {("edit", "none"): [again], ("edit", "none", "relearn", 50): [again]}
    return [
        fake_run(folder, target="Conan O'Brien", files=TEXTS),
        fake_run(folder, target="None", overrides={"method.share": 0.5, "method.towers": ["a"]}),
        fake_run(folder, target="a,\nb", seed=1, flips={"share": 1}, overrides={"method.share": 1}),
        fake_run(folder, target="王小明", extra=attacked, quantizations=("none",), patch_bytes=None),
        as_format_1(fake_run(folder, target="Bo", method="slug", finished="2026-09-09T00:00:00.000+00:00")),
    ]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded") / "outputs"
    record(folder)
    return folder


@pytest.fixture
def outputs(recorded: Path, tmp_path: Path) -> Path:
    """Return a copy of the runs, without an index."""
    return Path(shutil.copytree(recorded, tmp_path / "outputs"))


def answers(folder: Path) -> list[object]:
    notes: list[str] = []
    found: list[object] = [answer(folder, sql, notes.append) for sql in QUERIES]
    return [*found, notes]


def plain(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return the answers as the folders give them."""
    with monkeypatch.context() as patch:
        patch.setattr(known, "MANY", 10**9)
        patch.setattr(known, "opened", lambda _: None)
        return answers(folder)


def held(folder: Path) -> int:
    """Return how many of the runs come from the index."""
    with known_runs(folder, rows=True) as found:
        return len(found.indexed)


def file_of(folder: Path) -> Path:
    (path,) = index.found_in(folder / "runs")
    return path


def test_answers_are_those_of_the_folders(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = plain(outputs, monkeypatch)
    assert answers(outputs) == expected and held(outputs) == 5
    monkeypatch.setattr(known, "MANY", 10**9)  # from now on it is read only
    assert answers(outputs) == expected
    fake_run(outputs, target="New", overrides={"method.rho": 0.25})
    newer(fake_run(outputs, target="Newer"))
    assert answers(outputs) == plain(outputs, monkeypatch) and held(outputs) == 5


@pytest.mark.parametrize("name", ["table3", "quantization", "measured", "verdicts"])
def test_tables_are_those_of_the_folders(outputs: Path, name: str) -> None:
    assert held(outputs) == 5
    wanted = None if name in ("measured", "verdicts") else is_read
    with known_runs(outputs, rows=True, wanted=wanted) as found:
        text = render(builder(name)(found.runs), "md")
    assert text == render(builder(name)(complete_runs(outputs)), "md")


def test_runs_are_those_of_the_folders(outputs: Path) -> None:
    assert held(outputs) == 5
    with known_runs(outputs) as found:
        for mine, theirs in zip(found.runs, complete_runs(outputs), strict=True):
            assert mine.folder == theirs.folder and mine.record == theirs.record
            assert mine.scores == theirs.scores and mine.measured == theirs.measured
            assert mine.survival == theirs.survival and mine.events == theirs.events


def test_whatever_changed_is_seen(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert held(outputs) == 5
    conan, none, several, wang, bo = sorted(
        complete_runs(outputs), key=lambda r: NAMES.index(r.record.target)
    )
    flip(conan.path("similarity.png"))
    flip(none.path("scores.csv"))
    several.folder.rename(several.folder.with_name("f" * 16))
    as_format_1(wang)
    shutil.rmtree(bo.folder)
    fake_run(outputs, target="New")
    expected = plain(outputs, monkeypatch)
    for _ in range(2):
        assert answers(outputs) == expected
    assert held(outputs) == 3
    conan.path("survival.csv").unlink()
    wang.path("DONE").unlink()
    monkeypatch.setattr(known, "MANY", 10**9)
    assert answers(outputs) == plain(outputs, monkeypatch) and held(outputs) == 1


INDEXES: dict[str, Callable[[Path], object]] = {
    "gone": lambda path: path.unlink(),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_text("no index\n"),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-4096]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    **{
        f"a flipped bit at {share} %": lambda path, share=share: path.write_bytes(
            (data := bytearray(path.read_bytes()))[: (i := len(data) * share // 100)]
            + bytes([data[i] ^ 8])
            + data[i + 1 :]
        )
        for share in (0, 40, 99)
    },
}


@pytest.mark.parametrize("what", INDEXES)
def test_damaged_index_is_made_anew_without_a_word(
    outputs: Path, what: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    expected = plain(outputs, monkeypatch)
    assert held(outputs) == 5
    INDEXES[what](file_of(outputs))
    assert answers(outputs) == expected
    assert capfd.readouterr() == ("", "")


def test_index_of_other_code_is_made_anew(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert held(outputs) == 5
    before = file_of(outputs)
    monkeypatch.setattr(index, "form", lambda: "another")
    monkeypatch.setattr(indexing, "form", lambda: "another")
    assert held(outputs) == 5 and file_of(outputs) != before


def test_where_runs_cannot_be_written_the_index_lies_in_the_cache(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert held(outputs) == 5
    assert index.found_in(outputs / "runs") == []
    assert len(list((tmp_path / "cache/indexes").glob("*/.index-*.duckdb"))) == 1


def test_without_a_place_all_is_answered_from_the_folders(
    outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain(outputs, monkeypatch)
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(known, "places", lambda _: [tmp_path / "file"])
    assert answers(outputs) == expected and held(outputs) == 0


def test_few_new_runs_and_those_of_this_moment_are_not_kept(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "SETTLED", 10**15)
    assert held(outputs) == 0
    monkeypatch.setattr(indexing, "SETTLED", 0)
    monkeypatch.setattr(known, "MANY", 6)
    assert held(outputs) == 0 and index.found_in(outputs / "runs") == []


def test_damage_that_no_time_tells_of_is_found_by_check_and_by_looking_at_the_run(
    outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert held(outputs) == 5
    frozen = {run.folder: index.stamp(run.folder) for run in complete_runs(outputs)}
    monkeypatch.setattr(known, "stamp", frozen.__getitem__)
    run = find_run(outputs, "latest")
    flip(run.path("run.json"))
    (count,) = answer(outputs, "select count(*) from runs")[1]
    assert count == (5,)
    notes: list[str] = []
    assert find_run(outputs, "latest", notes.append).run_id != run.run_id and "run.json is not" in notes[0]
    with pytest.raises(UserError, match="is the beginning of no run id"):
        find_run(outputs, run.run_id)
    assert razor_command(["query", "select count(*) as n from runs", "--output-dir", str(outputs)]) == 0
    assert " 5 " in capsys.readouterr().out
    words = ["select count(*) as n from runs", "--check", "--output-dir", str(outputs)]
    assert razor_command(["query", *words]) == 0
    out, err = capsys.readouterr()
    assert " 4 " in out and "run.json is not what DONE vouches for" in err
    assert answer(outputs, "select count(*) from runs")[1] == [(4,)]  # the index was made anew


def test_no_query_reaches_the_index_itself(outputs: Path) -> None:
    assert held(outputs) == 5
    for name in (f"{index.HIDDEN}.runs", f'"{index.HIDDEN}".about', f"{index.HIDDEN}_live"):
        with pytest.raises(UserError, match="reads recorded runs"):
            answer(outputs, f"select * from {name}")


WORK = """
import sys
from pathlib import Path
from razor_cli.runs import indexing, known
from razor_cli.runs.archive import answer
known.MANY, indexing.SETTLED = 1, 0
for _ in range(3):
    assert answer(Path(sys.argv[1]), "select count(*) >= 4 from runs")[1] == [(True,)]
"""


def test_processes_at_once_answer_right(outputs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = complete_runs(outputs)[0].folder
    others = [
        subprocess.Popen([sys.executable, "-c", WORK, str(outputs)], stderr=subprocess.PIPE) for _ in range(2)
    ]
    away = outputs / "away"
    while any(p.poll() is None for p in others):
        one.rename(away)
        away.rename(one)
        os.utime(one / "DONE")
    assert [(p.returncode, (p.stderr or sys.stdin).read()) for p in others] == [(0, b""), (0, b"")]
    assert answers(outputs) == plain(outputs, monkeypatch)
    assert [p.name for p in (outputs / "runs").iterdir() if p.name.startswith(".")] == [file_of(outputs).name]
