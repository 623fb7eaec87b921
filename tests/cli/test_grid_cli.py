"""`razor-run experiment=NAME` with a grid, as a person meets it, up to real recorded runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from razor_cli import main, run
from razor_cli.config.settings import Experiment
from razor_cli.contract.choices import Device
from razor_cli.errors import RunError
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.grid import points as grid
from razor_cli.grid.blocks import Asked, chosen_blocks, read
from razor_cli.grid.job import perform_job
from razor_cli.grid.kept import Kept, key_of
from razor_cli.metrics.scored import scored
from razor_cli.metrics.stats import Interval
from razor_cli.runs.folder import complete_runs
from razor_cli.runs.rows import ScoreRow

FILE = """# @package _global_
defaults:
  - override /model: clip_tiny
  - override /quantization: none
model: {device: cpu}
control: false
data:
  n_forget: 8
  n_retain: 24
  n_validation_forget: 6
  n_validation_retain: 24
  n_evaluation_forget: 6
  n_evaluation_retain: 24
  n_suite: 10
grid:
  - {target: [Taylor Swift, Elon Musk], method: [none, random]}
"""


@dataclass
class FakeRun(ModuleType):
    """Stands for `razor_cli.run`: records what it is asked for; fails where told, and remembers what is
    complete.
    """

    asked: list[tuple[str, str, int]] = field(default_factory=list)
    done: set[tuple[str, str, int]] = field(default_factory=set)
    fails_on: tuple[str, str] | None = None
    m1: tuple[float, float, float] = (5.0, 2.0, 9.0)  # of every run, with its interval

    def __post_init__(self) -> None:
        super().__init__("razor_cli.run")

    def perform(self, experiment: Experiment, console: Any, *, opener: Any, say: Any) -> tuple[Any, bool]:
        key = (experiment.target, experiment.method.name, experiment.seed)
        self.asked.append(key)
        if key[:2] == self.fails_on:
            raise RunError("it broke", found="much more")
        print("not to be seen")
        console.print("nor this")
        m1 = scored("m1", "dual/generic", Interval(*self.m1, 100))
        rows = [ScoreRow(state="edit", quantization="none", score=m1)]
        record = SimpleNamespace(family="clip", settings={})
        run = SimpleNamespace(scores=rows, record=record, run_id="0123456789abcdef")
        computed = key not in self.done
        self.done.add(key)
        return run, computed


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to an empty folder with an experiment `mine` of four jobs in conf/."""
    (tmp_path / "conf/experiment").mkdir(parents=True)
    (tmp_path / "conf/experiment/mine.yaml").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "data"))
    return tmp_path


@pytest.fixture
def fake(home: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    fake_run = FakeRun()
    monkeypatch.setattr(grid, "_pictures", lambda *_: {})
    monkeypatch.setitem(sys.modules, "razor_cli.run", fake_run)
    return fake_run


def command(*words: str) -> int:
    return main.run_command(["--config-dir", "conf", "experiment=mine", *words])


def test_jobs_run_in_order_with_a_line_each(fake: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert command() == 0
    names = [
        ("Taylor Swift", "none"),
        ("Taylor Swift", "random"),
        ("Elon Musk", "none"),
        ("Elon Musk", "random"),
    ]
    assert [k[:2] for k in fake.asked] == names
    out = capsys.readouterr().out
    assert "experiment=mine: 4 jobs" in out and "not to be seen" not in out and "nor this" not in out
    assert re.search(r"\[2/4\] random · identity Taylor Swift · seed 0 · \d", out) and "left" in out
    assert "4 jobs: 4 computed, 0 recorded before, 0 failed" in out


def test_failing_job_is_reported_and_the_others_go_on(
    fake: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails_on = ("Taylor Swift", "random")
    assert command() == 1
    assert len(fake.asked) == 4
    out = capsys.readouterr().out
    assert "[2/4] random · identity Taylor Swift · seed 0 FAILED" in out and "found: much more" in out
    end = out[out.index("4 jobs: ") :]
    assert "3 computed, 0 recorded before, 1 failed" in end and "job 2: RunError: it broke" in end
    assert (
        "rerun: razor-run experiment=mine 'grid=[]' 'target=Taylor Swift' method=random" in end
        and "Traceback" not in out
    )


def test_debug_shows_the_traceback_and_fail_fast_stops(
    fake: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails_on = ("Taylor Swift", "random")
    assert command("fail_fast=true", "debug=true") == 1
    assert len(fake.asked) == 2
    out = capsys.readouterr().out
    assert "Traceback" in out and "stopped at the first failure (fail_fast=true): 2 not started" in out


def test_same_command_resumes_and_rejections_can_end_with_3(
    fake: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.fails_on = ("Elon Musk", "none")
    assert command("exit_on=undecided") == 1  # a failure counts more
    fake.fails_on = None
    assert command("exit_on=undecided") == 3 and command("exit_on=rejected") == command() == 0
    out = capsys.readouterr().out
    assert "4 jobs: 1 computed, 3 recorded before, 0 failed" in out and "recorded · UNDECIDED · run" in out
    fake.m1 = (90.0, 80.0, 95.0)
    assert command("exit_on=rejected") == command("exit_on=undecided") == 3 and command() == 0
    assert "recorded · REJECTED · run" in capsys.readouterr().out


def test_values_without_m_narrow_and_multiply_the_grid(fake: FakeRun) -> None:
    assert command("target=Elon Musk", "method=none,random", "seed=4,5") == 0
    assert fake.asked == [("Elon Musk", m, s) for m in ("none", "random") for s in (4, 5)]


def test_nothing_starts_if_one_job_is_wrong(
    fake: FakeRun, capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert command("seed=0,-1") == 2
    err = capsys.readouterr().err
    assert fake.asked == [] and "4 of 8 jobs of experiment=mine cannot run, so none was started" in err
    assert err.count("seed must not be negative") == 1 and not (home / "outputs").exists()
    assert command("method=nonne") == 2 and "did you mean method=none" in capsys.readouterr().err


def test_grid_is_refused_where_one_run_or_a_sweep_is_meant(
    fake: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["grid=[{seed: [1]}]"]) == 2
    assert "grid belongs into the file of an experiment" in capsys.readouterr().err
    assert main.run_command(["-m", "--config-dir", "conf", "experiment=mine", "seed=0,1"]) == 2
    assert "without -m" in capsys.readouterr().err and fake.asked == []


def test_cfg_prints_the_grid_and_passes(fake: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("--cfg", "job") == 0
    assert "- target:" in capsys.readouterr().out and fake.asked == []


def test_plan_of_a_sweep_and_of_one_run(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["-m", "method=none,slug", "target=Taylor Swift", "dry_run=true"]) == 0
    out = capsys.readouterr().out
    assert "slug · identity Taylor Swift" in out and "2 jobs: 2 to run; about" in out
    assert main.run_command(["target=Tailor Swift", "dry_run=true"]) == 2
    assert "cannot: " in (out := capsys.readouterr().out) and "Taylor Swift" in out


@pytest.mark.timeout(300)
def test_real_grid_from_plan_to_recorded_runs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command("dry_run=true") == 0
    out = capsys.readouterr().out
    assert "4 jobs: 4 to run; about" in out and "~" in out and "4 from a count of passes" in out
    assert "dry_run: nothing was started" in out and not (home / "outputs").exists()
    assert command("target=Taylor Swift", "method=none") == 0
    assert "1 job: 1 computed" in capsys.readouterr().out
    (run,) = complete_runs(home / "outputs")
    assert (
        "grid" not in run.record.settings
        and run.path("survival.csv").is_file()
        and run.path("cosines.csv").is_file()
    )
    assert command("dry_run=true", "method=none") == 0
    out = capsys.readouterr().out
    assert "2 jobs: 1 recorded, 1 to run" in out and "1 from recorded runs" in out
    assert command("target=Taylor Swift", "method=none", "dry_run=false") == 0
    assert "1 job: 0 computed, 1 recorded before" in capsys.readouterr().out
    assert len(complete_runs(home / "outputs")) == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kept_model_gives_the_numbers_of_a_fresh_one_and_stays_as_it_was(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["experiment=mine", "method=random", "quantization=int8", "data.n_suite=2"]
    blocks = chosen_blocks(words, "conf")
    assert blocks is not None
    jobs, refused = grid.check_all(read(words, *blocks, "conf"))
    assert len(jobs) == 2 and not refused
    kept, models = Kept(), []

    def opening(spec: ClipSpec, real: Any = ClipSpec.open) -> Any:
        models.append(real(spec))
        return models[-1]

    monkeypatch.setattr(ClipSpec, "open", opening)
    for folder, keeping in (("fresh", Kept), ("kept", lambda: kept)):
        for job in jobs:
            there = replace(job.experiment, output_dir=home / folder)
            ended = perform_job(job.number, there, keeping(), print)
            assert ended.computed and not ended.error
    *fresh, last = models
    assert len(fresh) == 2  # one a job, and then one for all
    tensors = zip(last.module.parameters(), fresh[0].module.parameters(), strict=True)
    assert all(torch.equal(v, w) for v, w in tensors)
    scores = [
        {r.run_id: r.path("scores.csv").read_bytes() for r in complete_runs(home / folder)}
        for folder in ("fresh", "kept")
    ]
    assert scores[0] == scores[1] and len(scores[0]) == 2


def test_one_model_is_kept_until_another_is_wanted_or_a_job_fails(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, opened = Kept(), []
    for key in "aabba":
        assert kept.get(key, lambda key=key: opened.append(key) or key) == key  # type: ignore[misc]
    assert opened == ["a", "b", "a"]
    (job, *_), _ = grid.check_all(Asked(name="", blocks=[{}], words=["method=none"]))
    monkeypatch.setattr(run, "perform", lambda *_, **__: 1 / 0)
    assert "ZeroDivisionError" in perform_job(1, job.experiment, kept, print).error
    kept.get("a", lambda: opened.append("again"))
    assert opened[-1] == "again"


def test_other_settings_or_weights_are_another_model(home: Path) -> None:
    file = home / "weights.safetensors"
    save_file({"a": torch.zeros(2)}, file)
    models = [ClipSpec(), ClipSpec(weights=str(file)), ClipSpec(weights=str(file), device=Device.CPU)]
    keys = [key_of(m) for m in models]
    save_file({"a": torch.ones(3)}, file)
    keys.append(key_of(models[1]))
    assert len(set(keys)) == 4 and key_of(ClipSpec()) == keys[0]


@pytest.mark.slow
def test_killed_grid_in_two_processes_leaves_nothing_half_and_goes_on(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = "import sys; from razor_cli.main import run_command; sys.exit(run_command(sys.argv[1:]))"
    words = ["--config-dir", "conf", "experiment=mine", "jobs=2", "method=none"]
    child = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 200
    while (
        not list(home.glob("outputs/runs/*/*/*.partial-*"))
        and child.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert all("partial" not in r.folder.name for r in complete_runs(home / "outputs"))
    assert command("jobs=2", "method=none") == 0
    out = capsys.readouterr().out
    assert "experiment=mine: 2 jobs in 2 processes" in out and "0 failed" in out
    assert {r.record.target for r in complete_runs(home / "outputs")} == {"Taylor Swift", "Elon Musk"}
