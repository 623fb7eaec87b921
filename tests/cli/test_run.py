"""`razor-run` on the stand-in, from the command line to the recorded verdict: real pictures, real weights,
tiny sets.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import pytest
import torch

from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import Run, complete_runs
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import read_patch

pytestmark = pytest.mark.timeout(300)

SIZES = {
    "n_forget": 8,
    "n_retain": 32,
    "n_validation_forget": 8,
    "n_validation_retain": 32,
    "n_evaluation_forget": 8,
    "n_evaluation_retain": 32,
    "n_suite": 20,
}
BASE = ["experiment=tiny", "quantization=none", *(f"data.{k}={v}" for k, v in SIZES.items())]
STAND_IN = Path(str(resources.files("razor_cli.families.clip.standins"))) / "clip_tiny/clip_tiny.safetensors"
UNREACHABLE = "scenario.acceptance.m1_mean.at_most=0"  # no model forgets so much without an edit
FILES = {
    "DONE",
    "cosines.csv",
    "cosines.png",
    "edit_log.csv",
    "resolved_config.yaml",
    "run.json",
    "scores.csv",
    "similarity.png",
    "split.json",
    "survival.csv",
}


@dataclass(frozen=True)
class Said:
    """How a command ended, what it printed, and the runs that were recorded by then."""

    code: int
    text: str
    runs: list[Run]

    @property
    def run_id(self) -> str:
        """The run that the report is about."""
        return re.findall(r"· run ([0-9a-f]{16})", self.text)[-1]

    @property
    def run(self) -> Run:
        return next(r for r in self.runs if r.run_id == self.run_id)


Do = Callable[..., Said]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs") / "outputs"


@pytest.fixture(scope="module")
def do(outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Do]:
    """Give `razor-run` with tiny sets, a cache of its own, and no prepared data."""

    def call(*overrides: str) -> Said:
        out = io.StringIO()
        with redirect_stdout(out):
            code = run_command([*BASE, f"output_dir={outputs}", *overrides])
        return Said(code, out.getvalue(), complete_runs(outputs))

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAZOR_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("RAZOR_DATA_DIR", str(tmp_path_factory.mktemp("data")))
        patch.setenv("COLUMNS", "140")
        yield call


@pytest.fixture(scope="module")
def null(do: Do) -> Said:
    """Run the null edit on the default target once."""
    return do("method=none", UNREACHABLE)


@pytest.fixture(scope="module")
def moved(do: Do) -> Said:
    """Run a random edit once."""
    return do("method=random", "method.components=3")


def cells(run: Run) -> dict[str, dict[tuple[str, str], tuple[object, ...]]]:
    """Return the scores of each state by metric and variant."""
    found: dict[str, dict[tuple[str, str], tuple[object, ...]]] = {}
    for row in run.scores:
        s = row.score
        found.setdefault(row.state, {})[s.metric, s.variant] = (s.value, s.n, s.ci_low, s.ci_high, s.reason)
    return found


def test_run_is_recorded_and_reported(null: Said, outputs: Path) -> None:
    assert null.code == 0  # REJECTED is a result, not a failure
    run = null.run
    assert run.folder == outputs / "runs/identity/none" / run.run_id
    assert {p.name for p in run.folder.iterdir()} == FILES  # a null edit has no patch
    assert [p for p in (outputs / "runs").glob("*/*/*") if "partial" in p.name] == []
    assert "forgetting Taylor Swift with none" in null.text and 'forget "Taylor Swift" · none' in null.text
    assert "STAND-IN" in null.text and "no patch" in null.text


def test_record_says_what_was_computed(null: Said) -> None:
    record = null.run.record
    assert (record.model, record.stand_in, record.target, record.seed) == (
        "clip_tiny",
        True,
        "Taylor Swift",
        0,
    )
    sizes = record.provenance.set_sizes
    assert {k: sizes[k] for k in ("forget", "retain", "evaluation_forget", "evaluation_retain")} == {
        "forget": 8,
        "retain": 32,
        "evaluation_forget": 8,
        "evaluation_retain": 32,
    }
    assert all(len(h) >= 32 for h in record.provenance.data_fingerprints.values())
    assert record.settings["method"]["name"] == "none" and "output_dir" not in record.settings  # type: ignore[index]
    split = json.loads(null.run.path("split.json").read_text(encoding="utf-8"))
    assert split


def test_null_edit_and_its_control_score_exactly_as_the_base(null: Said) -> None:
    found = cells(null.run)
    compared = set(found["base"]) & set(found["edit"])
    assert {m for m, _ in compared} >= {"m1", "m2", "m4", "m5", "others_acc"} and len(compared) > 15
    for key in compared:
        values = {(v[0], v[1], v[4]) for v in (found[s][key] for s in ("edit", "base", "control"))}
        assert len(values) == 1 and found["edit"][key] == found["control"][key]
        drop = key[0] == "others_worst" or key[0].endswith("_drop")
        if drop and found["base"][key][0] is not None:  # of the base beside itself, which is exact
            assert found["base"][key][2:4] == (0.0, 0.0)
        elif key[0] not in ("m3", "m5"):  # as these are
            assert found["edit"][key] == found["base"][key]
    value, _, low, high, _ = found["edit"]["m5", "retrieval/base"]
    assert value == high == 100.0 and isinstance(low, float) and 90 < low < 95  # 32 pictures did not change
    assert found["base"]["m5", "retrieval/base"][2:4] == (100.0, 100.0)
    drift = {
        v[0]
        for (metric, name), v in found["edit"].items()
        if metric == "m3" and "drift" in name and v[0] is not None
    }
    assert drift == {0.0}


def test_random_edit_and_its_control_change_the_model(moved: Said) -> None:
    found = cells(moved.run)
    for state in ("edit", "control"):
        assert found[state]["m2", "prompt"][0] != found["base"]["m2", "prompt"][0]
    assert found["edit"]["m2", "prompt"] != found["control"]["m2", "prompt"]
    assert len(moved.run.record.components) == 3 and moved.run.events


def test_both_methods_start_from_the_same_base(null: Said, moved: Said) -> None:
    assert cells(null.run)["base"] == cells(moved.run)["base"]
    assert null.run_id != moved.run_id


def test_rerun_returns_at_once_and_rejection_can_end_with_3(null: Said, do: Do) -> None:
    done = null.run.path("DONE")
    written = done.stat().st_mtime_ns
    again = do("method=none", UNREACHABLE, "exit_on=rejected")  # changes no number: the same run
    assert again.code == 3 and again.run_id == null.run_id
    assert "already recorded" in again.text and "forgetting" not in again.text
    assert done.stat().st_mtime_ns == written
    verdict = again.run.record.verdict
    assert verdict is not None and verdict.decision.value == "REJECTED" and "Verdict: REJECTED" in again.text
    assert again.text[again.text.index("forget ") :] == null.text[null.text.index('forget "') :]
    reached = do("method=none", "scenario.acceptance.m1_mean.at_most=100", "exit_on=rejected")
    assert reached.run_id == null.run_id and done.stat().st_mtime_ns == written  # nor does another threshold
    assert "REJECTED  m1_mean" not in reached.text


def test_show_and_query_read_the_run(
    null: Said, outputs: Path, do: Do, capsys: pytest.CaptureFixture[str]
) -> None:
    assert razor_command(["show", null.run_id, "--output-dir", str(outputs)]) == 0
    assert capsys.readouterr().out.strip() == null.text[null.text.index('forget "') :].strip()
    sql = (
        f"select state, count(*) as n from scores where run_id = '{null.run_id}' group by state order "
        "by state"
    )
    assert razor_command(["query", sql, "--output-dir", str(outputs), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [r["state"] for r in rows] == ["base", "control", "edit"] and sum(
        int(r["n"]) for r in rows
    ) == len(null.run.scores)


def test_patch_applies_to_the_weights_file_and_reverts_to_the_same_tensors(
    moved: Said, tmp_path: Path
) -> None:
    patch = moved.run.path("patch.safetensors")
    header, values = read_patch(patch)
    assert header.method == "random" and header.target is None
    assert moved.run.record.cost.patch_bytes == patch.stat().st_size
    edited, back = tmp_path / "edited.safetensors", tmp_path / "back.safetensors"
    assert razor_command(["patch", "verify", str(patch), "--base", str(STAND_IN)]) == 0
    assert razor_command(["patch", "apply", str(patch), "--base", str(STAND_IN), "--out", str(edited)]) == 0
    base, after = read_state(STAND_IN), read_state(edited)
    assert {n for n in base if not torch.equal(base[n], after[n])} == set(values)
    assert all(torch.equal(after[n], v) for n, v in values.items())
    undo = f"{edited}.undo.safetensors"
    assert razor_command(["patch", "revert", str(edited), "--undo", undo, "--out", str(back)]) == 0
    reverted = read_state(back)
    assert list(reverted) == list(base)
    assert all(
        reverted[n].dtype == v.dtype and reverted[n].numpy().tobytes() == v.numpy().tobytes()
        for n, v in base.items()
    )


def test_one_width_alone_brings_the_full_precision_rows_it_refers_to(do: Do) -> None:
    said = do("method=random", "quantization=int8")
    assert said.code == 0
    rows = {(row.state, row.quantization) for row in said.run.scores}
    assert rows == {(s, q) for s in ("base", "control", "edit") for q in ("none", "int8")}


def test_sweep_makes_a_run_of_every_point(null: Said, do: Do) -> None:
    swept = do("-m", "target=Taylor Swift,Elon Musk", "method=none", UNREACHABLE)
    assert swept.code == 0 and "sweep: 2 jobs, 2 finished, 0 failed" in swept.text
    first, second = re.findall(r"· run ([0-9a-f]{16})", swept.text)
    assert (
        first == null.run_id and "already recorded" in swept.text
    )  # a point of a sweep is the same run as one alone
    targets = {r.run_id: r.record.target for r in swept.runs}
    assert (targets[first], targets[second]) == ("Taylor Swift", "Elon Musk")
    set_there = next(r.record.overrides for r in swept.runs if r.run_id == second)
    assert (set_there["target"], set_there["method"], set_there["data.n_forget"]) == ("Elon Musk", "none", 8)
    assert "output_dir" not in set_there
    lines = [line for line in swept.text.splitlines() if line.startswith("[")]
    assert [" · already recorded " in line for line in lines] == [
        True,
        False,
    ] and "forgetting" not in swept.text


def test_killed_run_is_not_recorded_and_the_next_one_completes_it(null: Said, outputs: Path, do: Do) -> None:
    overrides = ["method=none", UNREACHABLE, "seed=1"]
    code = "import sys; from razor_cli.main import run_command; sys.exit(run_command(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *BASE, f"output_dir={outputs}", *overrides]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    place = outputs / "runs/identity/none"
    deadline = time.monotonic() + 120
    while not (partial := list(place.glob("*.partial-*"))):
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    killed = partial[0].name.split(".")[0]
    assert killed != null.run_id  # a changed setting is another run
    assert partial[0].is_dir() and killed not in {r.run_id for r in complete_runs(outputs)}
    again = do(*overrides)
    assert again.code == 0 and again.run_id == killed and "forgetting Taylor Swift" in again.text
    assert {p.name for p in again.run.folder.iterdir()} == FILES
    assert list(place.glob("*.partial-*")) == [] and null.run_id in {r.run_id for r in again.runs}


def test_wrong_request_records_nothing(null: Said, do: Do, capsys: pytest.CaptureFixture[str]) -> None:
    for overrides, part in (
        (["target=Taylor Swif", "method=none"], "Taylor Swift"),
        (["method=none", "data.n_forget=0"], "data.n_forget"),
    ):
        answer = do(*overrides)
        assert answer.code == 2 and part in capsys.readouterr().err
        assert not [r for r in answer.runs if r.record.target == "Taylor Swif"]
