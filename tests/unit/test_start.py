"""What answers at once: help, lists, recorded runs and plans load no library that computes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import fake_run

Answer = tuple[str, list[str], int, list[str], float, str]
HEAVY = ("torch", "torchvision", "transformers", "diffusers", "open_clip")
# One process asks everything, so that each library is looked for after each command and started once.
ASK = """
import contextlib, io, json, sys, time
from razor_cli import main
from razor_cli.engine import estimate

estimate.operations_per_second = lambda place: 1e10  # as remembered for this machine
asked, heavy = json.loads(sys.argv[1]), json.loads(sys.argv[2])
if sys.argv[3] == "recorded":  # whatever run is meant is taken for recorded, and is not printed
    import razor_cli.run as run
    run.open_run = lambda *place, **how: contextlib.nullcontext(type("Run", (), {"complete": True}))
    run.print_report = lambda *all: None
    run.judged.by_bounds = lambda *all: None
for program, *words in asked:
    began, out = time.process_time(), io.StringIO()
    with contextlib.redirect_stdout(out):
        code = (main.run_command if program == "razor-run" else main.razor_command)(words)
    loaded = [name for name in heavy if name in sys.modules]
    print(json.dumps([program, words, code, loaded, time.process_time() - began, out.getvalue()[-300:]]))
"""


def answers(
    asked: list[list[str]], mode: str = ""
) -> list[tuple[str, list[str], int, list[str], float, str]]:
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(asked), json.dumps(HEAVY), mode],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]  # type: ignore[misc]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    fake_run(folder)
    return folder


def test_commands_that_look_at_runs_load_nothing_that_computes(recorded: Path) -> None:
    here = ["--output-dir", str(recorded)]
    asked = [
        ["razor", "--help"],
        ["razor", "list"],
        ["razor", "list", "methods", "razor"],
        ["razor", "show", "latest", *here],
        ["razor", "judge", *here],
        ["razor", "query", "select count(*) from scores", *here],
        ["razor", "tables", "table3", *here],
        ["razor", "patch", "--help"],
        ["razor", "data", "--help"],
        ["razor-run", "--help"],
        ["razor-run", "--cfg", "job", "model=sd_tiny"],
    ]
    for program, words, code, loaded, _, said in answers(asked):
        assert (code, loaded) == (0, []), (program, words, said)


def test_a_plan_of_75_jobs_is_there_within_seconds(tmp_path: Path) -> None:
    words = ["experiment=compare", "scenario=identity", "dry_run=true", f"output_dir={tmp_path}"]
    ((_, _, code, loaded, seconds, said),) = answers([["razor-run", *words]])
    assert (code, loaded) == (0, []) and "75 jobs: 75 to run" in said
    assert seconds < 8  # of a processor; about 3 where nothing else runs


def test_a_recorded_run_of_any_family_answers_without_its_libraries(tmp_path: Path) -> None:
    models = ("clip_tiny", "sd_tiny", "sd3_tiny", "llava_tiny")
    asked = [["razor-run", f"model={name}", f"output_dir={tmp_path}"] for name in models]
    for _, words, code, loaded, _, said in answers(asked, "recorded"):
        assert (code, loaded) == (0, []) and "already recorded" in said, (words, said)
