"""What is stored is vouched for: whatever is read is checked when it is read, and one bad run folder ends
nothing that is asked of the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fake_runs import fake_run
from rich.console import Console

from razor_cli.errors import UserError
from razor_cli.main import razor_command
from razor_cli.report.terminal import print_report
from razor_cli.runs.folder import Run, complete_runs, is_complete, open_run
from razor_cli.runs.known import find_run
from razor_cli.runs.records import FORMAT
from razor_cli.tables.figures import matrices
from razor_cli.tables.registry import TABLES

TEXTS = {
    "split.json": "{}",
    "survival.csv": "scheme,name,weights,moved\nint8,(model),1,1\n",
    "cosines.csv": "concept,prompt,before,after\na,a,0.5,0.1\na,b,0.2,0.2\nb,a,0.2,0.2\nb,b,0.5,0.5\n",
    "similarity.png": "picture",
}
READ = ("run.json", "scores.csv", "edit_log.csv", "split.json", "survival.csv", "cosines.csv")
SHOWN = ("similarity.png", "patch.safetensors")


def flip(path: Path) -> None:
    """Change one bit of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def flipped(name: str, run: Run) -> None:
    flip(run.path(name))


def sealed(run: Run, name: str, text: str) -> None:
    """Write a file of a run, and have DONE vouch for it."""
    run.path(name).write_text(text, encoding="utf-8")
    done = json.loads((run.folder / "DONE").read_text())
    done["sha256"][name] = hashlib.sha256(text.encode()).hexdigest()
    (run.folder / "DONE").write_text(json.dumps(done))


def newer(run: Run) -> None:
    record = json.loads(run.read("run.json")) | {"format": FORMAT + 1, "unheard_of": 1}
    sealed(run, "run.json", json.dumps(record))


def renamed(run: Run) -> None:
    run.folder.rename(run.folder.with_name("f" * 16))


def foreign(run: Run) -> None:
    run.folder.rename(run.folder.with_name("somebody's"))


def of_another(run: Run) -> None:
    sealed(run, "run.json", run.read("run.json").replace(run.run_id, "0" * 16))


BAD: dict[str, tuple[Callable[[Run], object], str]] = {
    **{f"a bit of {n}": (partial(flipped, n), f"{n} is not what") for n in READ},
    "no survival": (lambda run: run.path("survival.csv").unlink(), "survival.csv is missing"),
    "DONE is no JSON": (lambda run: run.path("DONE").write_text("{"), "its DONE cannot be read"),
    "DONE is too deep": (lambda run: run.path("DONE").write_text("[" * 10**5), "its DONE cannot be read"),
    "DONE leads outside": (lambda run: sealed(run, "../x", ""), "it names '../x'"),
    "newer": (newer, "was recorded by a newer version"),
    "another's record": (of_another, "its record is of run 0000"),
    "renamed": (renamed, "its DONE is of run"),
    "foreign": (foreign, "is not called like a run"),
    "no record": (lambda run: sealed(run, "run.json", "[]"), "run.json of run"),
    "other scores": (lambda run: sealed(run, "scores.csv", "a,b\n1,2\n"), "scores.csv has other columns"),
    "no numbers": (
        lambda run: sealed(run, "scores.csv", run.read("scores.csv").replace(",60,", ",many,")),
        "scores.csv of run",
    ),
    "ragged log": (
        lambda run: sealed(run, "edit_log.csv", run.read("edit_log.csv") + "1,2\n"),
        "edit_log.csv of run",
    ),
}


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Run]:
    """Record a run that stays as it is, and a later one that will not."""
    monkeypatch.chdir(tmp_path)
    good = fake_run(Path("outputs"), target="Ada", files=TEXTS)
    bad = fake_run(Path("outputs"), target="Bo", files=TEXTS, finished="2026-09-09T00:00:00.000+00:00")
    return good, bad


# What all tables together are asked with: they read runs as one table does, and take seconds
IN_EVERY_TABLE = ("a bit of scores.csv", "no survival", "ragged log")


@pytest.mark.parametrize("kind", BAD)
def test_bad_folder_is_named_and_ends_nothing_for_the_others(
    runs: tuple[Run, Run], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = runs
    spoil, why = BAD[kind]
    spoil(bad)
    commands = [["query", "select target from runs"], ["tables", "measured", "--format", "md"]]
    if kind in IN_EVERY_TABLE:
        commands.append(["tables", "all"])
    for words in commands:
        assert razor_command(words) == 0
        out, err = capsys.readouterr()
        assert "Ada" in out + "Ada" * (words[-1] == "all") and "Bo" not in out
        assert (
            why in err and err.startswith("left out: outputs/runs/identity/razor/") and "Traceback" not in err
        )
    assert [r.run_id for r in complete_runs(Path("outputs"), rows=True)] == [good.run_id]
    assert razor_command(["show", good.run_id]) == 0


@pytest.mark.parametrize("kind", [k for k in BAD if k not in ("other scores", "no numbers", "ragged log")])
def test_showing_the_bad_one_itself_says_why(
    runs: tuple[Run, Run], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _, bad = runs
    spoil, why = BAD[kind]
    spoil(bad)
    for folder in (f for f in bad.folder.parent.iterdir() if f.is_dir() and f.name != runs[0].run_id):
        assert razor_command(["show", str(folder)]) == 2
        assert why in capsys.readouterr().err
    assert razor_command(["show", "latest"]) == 0
    out, err = capsys.readouterr()
    assert '"Ada"' in out and why in err


@pytest.mark.parametrize("kind", ["other scores", "no numbers"])
def test_showing_scores_that_are_none_says_so(
    runs: tuple[Run, Run], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    BAD[kind][0](runs[1])
    assert razor_command(["show", runs[1].run_id]) in (1, 2)
    err = capsys.readouterr().err
    assert BAD[kind][1] in err and "Traceback" not in err


@pytest.mark.parametrize("name", SHOWN)
def test_pictures_and_patches_are_checked_where_one_run_is_looked_at(
    runs: tuple[Run, Run], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    good, _ = runs
    flip(good.path(name))
    assert razor_command(["show", good.run_id]) == 0
    out, err = capsys.readouterr()
    assert '"Ada"' in out and err == f"{name} is not what DONE vouches for: it was damaged or changed\n"
    assert not is_complete(good.folder)
    with open_run(Path("outputs"), "identity", "razor", good.run_id) as again:
        assert not again.complete  # and so it is computed again


def test_patch_of_a_run_folder_is_the_one_that_was_recorded(
    runs: tuple[Run, Run], capsys: pytest.CaptureFixture[str]
) -> None:
    patch = runs[0].path("patch.safetensors")
    patch.write_bytes(b"another patch")
    for words in (["show", str(patch)], ["verify", str(patch), "--base", "x"], ["apply", str(patch), *OUT]):
        assert razor_command(["patch", *words]) == 2
        assert "patch.safetensors is not what DONE vouches for" in capsys.readouterr().err


OUT = ("--base", "x", "--out", "y.safetensors")


def test_damage_after_the_list_was_made_is_seen_when_a_file_is_read(runs: tuple[Run, Run]) -> None:
    good, _ = runs
    listed = complete_runs(Path("outputs"))
    for name in READ:
        flip(good.path(name))
    run = next(r for r in listed if r.run_id == good.run_id)
    for read in (lambda: run.scores, lambda: run.events, lambda: run.survival, lambda: matrices([run])):
        with pytest.raises(UserError, match="is not what DONE vouches for"):
            read()


def test_file_that_done_does_not_name_is_not_read(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    (run.folder / "survival.csv").write_text("scheme,name\nint8,planted\n")
    (run.folder / "cosines.csv").write_text("planted")
    found = find_run(tmp_path, "latest")
    assert found.survival == [] and not found.has("cosines.csv") and matrices([found]) == []
    print_report(Console(quiet=True), found)


def test_every_table_is_made_beside_a_damaged_run(runs: tuple[Run, Run], tmp_path: Path) -> None:
    flip(runs[1].path("survival.csv"))
    assert razor_command(["tables", "all", "--out", str(tmp_path / "t")]) == 0
    assert {p.stem for p in (tmp_path / "t").glob("*.md")} == set(TABLES)
