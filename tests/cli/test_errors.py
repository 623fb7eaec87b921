"""Exit codes and messages of both programs, as a person meets them."""

import importlib.util
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus

from razor_cli import main
from razor_cli.config.settings import Experiment
from razor_cli.errors import RunError, WeightsError
from razor_cli.metrics.score import Score
from razor_cli.runs.rows import ScoreRow


class FakeRun(ModuleType):
    """Stands for `razor_cli.run`: records what it is asked for and answers as told."""

    def __init__(self) -> None:
        super().__init__("razor_cli.run")
        self.asked: list[Experiment] = []
        self.answer: int | BaseException = 0
        self.fails_on: str | None = None

    def execute(self, experiment: Experiment) -> int:
        self.asked.append(experiment)
        if isinstance(self.answer, BaseException) and self.fails_on in (None, experiment.target):
            raise self.answer
        return self.answer if isinstance(self.answer, int) else 0

    def perform(self, experiment: Experiment, console: Any, **_: Any) -> tuple[Any, bool]:
        """A point of a sweep."""
        self.execute(experiment)
        bounds = {"value": 4.5, "ci_low": 2.0, "ci_high": 9.0}
        m1 = Score(metric="m1", variant="dual/mean_of_classes", n=9, unit="%", direction="down", **bounds)
        rows = [ScoreRow(state="edit", quantization="none", score=m1)]
        record = SimpleNamespace(family="clip")
        return SimpleNamespace(scores=rows, record=record, run_id="0123456789abcdef"), True


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRun:
    fake = FakeRun()
    monkeypatch.setitem(sys.modules, "razor_cli.run", fake)
    monkeypatch.chdir(tmp_path)
    return fake


def test_request_reaches_the_run_and_its_exit_code_comes_back(run: FakeRun, tmp_path: Path) -> None:
    run.answer = 3
    assert main.run_command(["target=Conan O'Brien", "data.n_forget=20", "exit_on=rejected"]) == 3
    assert (run.asked[0].target, run.asked[0].data.n_forget) == ("Conan O'Brien", 20)
    assert list(tmp_path.iterdir()) == []  # no run folder of Hydra's


def test_wrong_request_ends_with_2_before_anything_runs(
    run: FakeRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main.run_command(["method=razr", "data.n_forgot=3"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("ConfigError: 2 problems")
    assert "did you mean method=razor" in err and "did you mean data.n_forget" in err
    assert "Traceback" not in err and "hydra" not in err.lower()
    assert run.asked == [] and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code", "parts"),
    [
        (
            WeightsError("model.weights: no", allowed="a tag", fix="do this"),
            2,
            ["WeightsError: model.weights: no", "allowed: a tag", "fix: do this"],
        ),
        (RunError("the search diverged"), 1, ["RunError: the search diverged"]),
        (
            ValueError("inner trouble\nsecond line"),
            1,
            ["ValueError: inner trouble", "debug=true shows the traceback"],
        ),
    ],
)
def test_failure_of_a_run(
    run: FakeRun, capsys: pytest.CaptureFixture[str], error: Exception, code: int, parts: list[str]
) -> None:
    run.answer = error
    assert main.run_command([]) == code
    err = capsys.readouterr().err
    assert [p for p in parts if p not in err] == []
    assert "Traceback" not in err and "second line" not in err


def test_debug_shows_the_traceback(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.answer = ValueError("inner trouble")
    assert main.run_command(["debug=true"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_interrupt_ends_with_130_and_a_line(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    run.answer = KeyboardInterrupt()
    assert main.run_command([]) == 130
    assert capsys.readouterr().err.strip().startswith("interrupted")


def test_sweep_runs_every_point_as_a_run_of_its_own(run: FakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run_command(["-m", 'target="Downey, Robert",Conan O\'Brien', "method=slug,none"]) == 0
    asked = [(e.target, type(e.method).__name__) for e in run.asked]
    people = ("Downey, Robert", "Conan O'Brien")
    assert asked == [(p, m) for p in people for m in ("Slug", "NoneEdit")]
    out = capsys.readouterr().out
    assert "sweep: 4 jobs, 4 finished, 0 failed" in out
    lines = [line for line in out.splitlines() if line.startswith("[")]
    assert len(lines) == 4 and lines[0].startswith("[1/4] target=Downey, Robert · method=slug · ")
    assert all(" s · M1 4.5 · " in line and "run 0123456789abcdef" in line for line in lines)
    assert lines[0].endswith(" left") and "left" not in lines[-1]
    head, *rows = [line.split() for line in out[out.index("target   ") :].splitlines()[:6]]
    assert head == ["target", "method", "M1", "verdict", "run"]
    assert rows[-1][:2] + rows[-1][-1:] == ["Conan", "O'Brien", "0123456789abcdef"]


def test_failing_job_does_not_stop_the_sweep_and_the_summary_says_how_to_rerun(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    run.answer, run.fails_on = RunError("it broke\n  found: much more"), "B C"
    assert main.run_command(["-m", "target=A,B C,D", "data.n_forget=20"]) == 1
    assert [e.target for e in run.asked] == ["A", "B C", "D"]
    out = capsys.readouterr().out
    end = out[out.index("sweep:") :]
    assert "3 jobs, 2 finished, 1 failed" in end
    assert "job 2: RunError: it broke\n    rerun: razor-run 'target=B C' data.n_forget=20" in end
    assert "much more" not in end


def test_refused_point_fails_alone_and_fail_fast_stops(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["-m", "data.n_forget=0,20"]) == 2
    assert [e.data.n_forget for e in run.asked] == [20]
    assert main.run_command(["-m", "data.n_forget=0,20", "fail_fast=true"]) == 2
    assert len(run.asked) == 1
    assert "1 jobs, 0 finished, 1 failed\nstopped at the first failure" in capsys.readouterr().out


class Copies(BasicLauncher):
    """A launcher that runs each job with a copy of its function in a process of its own, as joblib's and
    submitit's do.
    """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        return [self.apart(words, initial_job_idx + i) for i, words in enumerate(job_overrides)]

    def apart(self, words: Sequence[str], number: int) -> JobReturn:
        reading, writing = os.pipe()
        if os.fork() == 0:
            self.task_function = pickle.loads(pickle.dumps(self.task_function))
            (done,) = super().launch([words], number)
            os.write(writing, pickle.dumps(done.return_value))
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading, "rb") as answer:
            found = JobReturn(_return_value=pickle.load(answer), status=JobStatus.COMPLETED)
        os.wait()
        return found


@pytest.fixture
def copies(monkeypatch: pytest.MonkeyPatch) -> str:
    """Return what chooses that launcher."""
    plugins = Plugins.instance()  # looks for those that are installed, once
    package, module = ModuleType("hydra_plugins"), ModuleType("hydra_plugins.copies")
    monkeypatch.setattr(Copies, "__module__", module.__name__)  # Hydra takes no launcher from elsewhere
    module.Copies = Copies  # type: ignore[attr-defined]
    for made in (package, module):
        if made.__name__ not in sys.modules:
            monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.setattr(sys.modules["hydra_plugins"], "copies", module, raising=False)
    plugins.register(Copies)
    node = {"_target_": "hydra_plugins.copies.Copies"}
    ConfigStore.instance().store(group="hydra/launcher", name="copies", node=node)
    return "hydra/launcher=copies"


def launchers() -> list[str]:
    """Return the launchers with processes of their own: ours, and joblib's where it is installed."""
    try:
        there = importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is not None
    except ModuleNotFoundError:  # no plugin at all
        there = False
    return ["copies", *(["joblib"] if there else [])]


@pytest.mark.parametrize("launcher", launchers())
def test_fail_fast_holds_for_launchers_with_processes_of_their_own(
    run: FakeRun, copies: str, launcher: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["-m", f"hydra/launcher={launcher}", "data.n_forget=20,0,30", "fail_fast=true"]
    words += ["hydra.launcher.n_jobs=1"] if launcher == "joblib" else []
    assert main.run_command(words) == 2
    end = capsys.readouterr().out.partition("sweep: ")[2]
    assert end.startswith(
        "3 jobs, 1 finished, 1 failed\nstopped at the first failure (fail_fast=true): 1 not"
    )
    assert "rerun: razor-run hydra" not in end and not list(tmp_path.rglob(".failed*"))


def test_wrong_choice_in_a_sweep_is_refused_before_the_first_job(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["-m", "method=none,razr"]) == 2
    assert run.asked == [] and "method=razr" in capsys.readouterr().err


def test_cfg_prints_the_configuration_and_runs_nothing(
    run: FakeRun, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main.run_command(["method=slug", "target=Beyoncé", "--cfg", "job", "--resolve"]) == 0
    out = capsys.readouterr().out
    assert "_target_: razor_cli.methods.slug.Slug" in out and "target: Beyoncé" in out
    assert run.asked == [] and list(tmp_path.iterdir()) == []


def test_cfg_of_a_wrong_request_prints_it_and_says_so(
    run: FakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run_command(["model=clip_vitb32", "--cfg", "job"]) == 2
    out, err = capsys.readouterr()
    assert "architecture: ViT-B-32" in out and "data=folder data.root=DIR" in err


def test_info_answers(
    tmp_path: Path,
) -> None:  # in a process of its own: Hydra prints it through the root logger
    code = (
        "from razor_cli.main import run_command; raise SystemExit(run_command(['--info', "
        "'defaults-tree', 'method=slug']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert "method: slug" in done.stdout and list(tmp_path.iterdir()) == []


def test_list_shows_every_option_and_a_file_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.razor_command(["list", "methods"]) == 0
    table = capsys.readouterr().out
    assert all(f"method={m}" in table for m in ("razor", "razor/paper", "slug/code", "none"))
    assert any(line.startswith("method=razor ") and " * " in line for line in table.splitlines())
    assert main.razor_command(["list", "methods", "razor"]) == 0
    text = capsys.readouterr().out
    assert "alpha: 0.5 #" in text and "lambda_forget: " in text
    assert main.razor_command(["list"]) == 0
    assert "quantization=int4" in capsys.readouterr().out


def test_razor_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.razor_command(["list", "methods", "razr"]) == 2
    assert "did you mean razor" in capsys.readouterr().err
    assert main.razor_command(["list", "nonsense"]) == 2
    assert main.razor_command(["nonsense"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("program", ["razor_run", "razor"])
def test_help_is_quick_and_imports_no_torch(program: str, tmp_path: Path) -> None:
    code = (
        f"import sys; sys.argv = ['x', '--help']\nfrom razor_cli.main import {program}\n"
        f"try:\n    {program}()\nexcept SystemExit as end:\n"
        f"    print('end', end.code, *(m in sys.modules for m in ('torch', 'pandas')))"
    )
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
        )
        seconds.append(time.perf_counter() - start)
    assert done.stdout.endswith("end 0 False False\n")
    assert all(
        word in done.stdout
        for word in (
            ["variants, ca/canvas", "output_dir", "-m"]
            if program == "razor_run"
            else ["list", "patch", "query"]
        )
    )
    assert min(seconds) < 1.0
