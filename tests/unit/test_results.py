"""Run folders: what counts as complete, who may write one, and what is left behind."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from fake_runs import as_format_1, fake_run
from filelock import FileLock
from rich.console import Console

from razor_cli.errors import RunError, UserError
from razor_cli.metrics.score import Score
from razor_cli.report.terminal import print_report
from razor_cli.runs.folder import Run, complete_runs, is_complete, open_run, write_atomic
from razor_cli.runs.known import find_run
from razor_cli.runs.records import Identity, RunRecord

ID = "0123456789abcdef"
OTHER = "fedcba9876543210"
IDENTITY = Identity(
    run_id=ID,
    model="clip_tiny",
    family="clip",
    stand_in=True,
    scenario="identity",
    data="portraits",
    target="A",
    method="razor",
    seed=0,
)


def reopened(run: Run, **options: bool) -> AbstractContextManager[Run]:
    """Open the place of a recorded run again."""
    place = run.folder
    return open_run(place.parents[3], place.parent.parent.name, place.parent.name, run.run_id, **options)


def score(**changes: Any) -> Score:
    values: dict[str, Any] = {
        "metric": "m1",
        "variant": "v",
        "value": 1.5,
        "n": 3,
        "ci_low": 1.0,
        "ci_high": 2.0,
        "unit": "%",
    }
    return Score(**(values | {"direction": "down"} | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


# What is complete


def test_finished_run_is_complete_and_reads_back(tmp_path: Path) -> None:
    run = fake_run(tmp_path, target="Beyoncé", offset=0.1)
    assert is_complete(run.folder) and [r.run_id for r in complete_runs(tmp_path)] == [run.run_id]
    again = find_run(tmp_path, run.run_id[:5])
    assert (again.record.target, again.record.run_id) == ("Beyoncé", run.run_id)
    assert [p.name for p in run.folder.parent.iterdir() if "partial" in p.name] == []


@pytest.mark.parametrize("name", ["scores.csv", "run.json", "edit_log.csv"])
@pytest.mark.parametrize("damage", ["truncated", "one byte", "missing"])
def test_damaged_file_under_done_makes_a_run_incomplete(tmp_path: Path, name: str, damage: str) -> None:
    run = fake_run(tmp_path)
    path, data = run.folder / name, (run.folder / name).read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(data[:-20] if damage == "truncated" else data[:-2] + b"?" + data[-1:])
    assert not is_complete(run.folder) and complete_runs(tmp_path) == []
    with reopened(run) as fresh:
        assert not fresh.complete


@pytest.mark.parametrize("name", ["patch.safetensors", "resolved_config.yaml", "DONE"])
def test_run_without_one_of_its_other_files_is_incomplete(tmp_path: Path, name: str) -> None:
    run = fake_run(tmp_path)
    (run.folder / name).unlink()
    assert not is_complete(run.folder)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"run_id": "x"}', '{"sha256": {}}', '{"sha256": 3, "run_id": "x"}']
)
def test_broken_voucher_vouches_for_nothing(tmp_path: Path, text: str) -> None:
    run = fake_run(tmp_path)
    (run.folder / "DONE").write_text(text)
    assert not is_complete(run.folder)


def test_voucher_that_omits_the_scores_or_names_another_run_is_refused(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    voucher = json.loads((run.folder / "DONE").read_text())
    short = voucher | {"sha256": {n: s for n, s in voucher["sha256"].items() if n != "scores.csv"}}
    for wrong in (short, voucher | {"run_id": ID}):
        (run.folder / "DONE").write_text(json.dumps(wrong))
        assert not is_complete(run.folder)


def test_partial_folder_is_never_listed_even_with_a_voucher(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    run.folder.rename(run.folder.with_name(f"{run.run_id}.partial-1"))
    assert complete_runs(tmp_path) == []
    with pytest.raises(UserError, match="no complete run"):
        find_run(tmp_path, "latest")


# Writing


def test_rerun_returns_the_complete_run_and_force_a_fresh_one(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    before = contents(run.folder)
    with reopened(run) as found:
        assert found.complete and found.record == run.record and found.scores == run.scores
        with pytest.raises(RunError, match="already complete"):
            found.finish(run.record)
    with reopened(run, force=True) as fresh:
        assert not fresh.complete and fresh.folder == run.folder
        assert not fresh.path("scores.csv").exists()
        assert is_complete(run.folder)  # the old one stands until the new one is finished
    assert contents(run.folder) == before


def test_forced_run_replaces_the_old_one_whole(tmp_path: Path) -> None:
    run = fake_run(tmp_path)
    (run.folder / "similarity.png").write_bytes(b"old")
    with reopened(run, force=True) as fresh:
        fresh.write_scores(
            IDENTITY.model_copy(update={"run_id": run.run_id}), {("edit", "none"): [score(value=7.0)]}
        )
        fresh.write_log([])
        fresh.finish(run.record)
    assert is_complete(run.folder) and [r.score.value for r in find_run(tmp_path, "latest").scores] == [7.0]
    assert not (run.folder / "similarity.png").exists()
    assert [p.name for p in run.folder.parent.glob("*partial*")] == []


def test_exception_inside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_run(tmp_path, "identity", "razor", ID) as run:
        run.write_scores(IDENTITY, {("edit", "none"): [score()]})
        assert run.path("scores.csv").parent.name == f"{ID}.partial-{os.getpid()}"
        raise ZeroDivisionError
    assert complete_runs(tmp_path) == []
    assert [p for p in (tmp_path / "runs/identity/razor").iterdir() if not p.name.startswith(".")] == []


def test_finish_refuses_a_run_without_its_files_or_with_another_ones_record(tmp_path: Path) -> None:
    record = fake_run(tmp_path / "a").record
    with open_run(tmp_path, "identity", "razor", ID) as run:
        with pytest.raises(RunError, match="cannot finish run"):
            run.finish(record)
        with pytest.raises(RunError, match=r"without scores.csv, edit_log.csv"):
            run.finish(RunRecord(**(record.model_dump() | {"run_id": ID})))
    assert not (tmp_path / "runs/identity/razor" / ID).exists()


def test_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = (fake_run(tmp_path / name, target="Beyoncé", offset=0.1).folder for name in "ab")
    assert contents(first) == contents(second) and len(contents(first)) == 6


def test_writing_is_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    with pytest.raises(TypeError):
        write_atomic(path, None)  # type: ignore[arg-type]
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


# Jobs beside one another


@pytest.mark.parametrize("first_finishes", [True, False])
def test_second_job_waits_and_finds_the_run_or_computes_it(tmp_path: Path, first_finishes: bool) -> None:
    done = fake_run(tmp_path / "elsewhere")
    place = (tmp_path, "identity", "razor", done.run_id)
    entered, seen = threading.Event(), []

    def second() -> None:
        with open_run(*place) as run:
            seen.append(run.complete)
            entered.set()

    with open_run(*place) as run:
        thread = threading.Thread(target=second, daemon=True)
        thread.start()
        assert not entered.wait(0.3)
        assert run.path(".").is_dir()  # the waiting job has not swept what we write
        if first_finishes:
            for name in ("scores.csv", "edit_log.csv"):
                write_atomic(run.path(name), (done.folder / name).read_bytes())
            run.finish(done.record)
    assert entered.wait(10)
    thread.join(10)
    assert seen == [first_finishes]


def test_partial_folders_of_dead_processes_are_swept_and_those_of_living_ones_kept(tmp_path: Path) -> None:
    parent = tmp_path / "runs/identity/razor"
    code = (
        "import os, sys; from pathlib import Path; from razor_cli.runs.folder import open_run\n"
        f"with open_run(Path(sys.argv[1]), 'identity', 'razor', {ID!r}) as run:\n"
        "    run.path('scores.csv').write_text('half'); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    dead = [p.name for p in parent.glob("*.partial-*")]
    assert len(dead) == 1 and dead[0].startswith(ID)
    stranger, living = parent / f"{'1' * 16}.partial-2", parent / f"{OTHER}.partial-1"
    stranger.mkdir()
    living.mkdir()
    with FileLock(str(parent / f".{OTHER}.lock")), open_run(tmp_path, "identity", "razor", ID) as run:
        assert not run.complete and not run.path("scores.csv").exists()
        assert sorted(p.name for p in parent.glob("*.partial-*")) == [
            f"{ID}.partial-{os.getpid()}",
            living.name,
        ]
    assert [p.name for p in parent.glob("*.partial-*")] == [living.name]


# Finding


def test_run_is_found_by_folder_beginning_and_latest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    late = fake_run(tmp_path, seed=1, finished="2026-05-01T00:00:00.000+00:00")
    early = fake_run(tmp_path, seed=2, finished="2026-04-01T00:00:00.000+00:00")
    monkeypatch.chdir(tmp_path)
    assert find_run(tmp_path, "latest").run_id == late.run_id
    assert find_run(tmp_path, early.run_id[:6].upper()).run_id == early.run_id
    assert find_run(tmp_path, str(early.folder.relative_to(tmp_path))).run_id == early.run_id


def test_wrong_name_says_what_there_is(tmp_path: Path) -> None:
    runs = [
        fake_run(tmp_path, seed=seed) for seed in range(17)
    ]  # seventeen ids share a first digit somewhere
    first = [r.run_id[0] for r in runs]
    shared = next(d for d in first if first.count(d) > 1)
    with pytest.raises(UserError, match="fits several runs") as error:
        find_run(tmp_path, shared)
    assert {r.run_id for r in runs if r.run_id[0] == shared} <= set(str(error.value.found).split(", "))
    with pytest.raises(UserError, match="beginning of no run id") as error:
        find_run(tmp_path, "xyz")
    assert "latest" in str(error.value)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no complete run"):
        find_run(tmp_path, str(tmp_path / "empty"))


def test_record_of_format_1_is_read_and_printed(tmp_path: Path) -> None:
    run = as_format_1(fake_run(tmp_path))
    record = find_run(tmp_path, "latest").record
    assert (record.format, record.overrides) == (1, {}) and record.settings == run.record.settings
    console = Console(file=io.StringIO(), width=120)
    print_report(console, find_run(tmp_path, "latest"))
    assert 'forget "Taylor Swift"' in console.file.getvalue()  # type: ignore[attr-defined]
