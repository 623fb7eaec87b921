"""Wrong command lines by kind: each is refused with exit code 2, in words, before weights are read, and
leaves no file.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from hostile_files import lay_out
from refusals import Answer, answer, stop_before_weights

from razor_cli import main
from razor_cli.config.conf_files import conf_dir
from razor_cli.config.settings import Experiment


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    return stop_before_weights(monkeypatch)


def refused(words: list[str], asked: list[Experiment]) -> Answer:
    """Return the answer to a command line, which must be a refusal in words that leaves nothing."""
    found = answer(words, Path.cwd())
    assert found.code == 2 and found.wrong() == "" and asked == [], (found, asked)
    return found


VALUES = [  # word, what the message names
    ("method.epsilon=inf", "method.epsilon must be finite"),
    ("method.lambda_forget=inf", "method.lambda_forget must be finite"),
    ("method.step_size=nan", "method.step_size has the wrong type"),
    ("method.tau=nan", "method.tau has the wrong type"),
    ("method.target={m1: inf}", "method.target must be finite"),
    ("method.retries=[{floor: {m5: -inf}}]", "floor must be finite"),
    ("cache_gb=1e999", "cache_gb must be finite"),
    ("data.aliases=[[a],[b]]", "data.aliases[0] has the wrong type"),
    ("data.aliases=[a,[b]]", "data.aliases"),
    ("seed=99999999999999999999", "seed has the wrong type"),
    (f"seed={'9' * 5000}", "seed"),
    ("target=\udcff", "target"),
    ("output_dir=~nobody_of_that_name/x", "output_dir has the wrong type"),
    (f"output_dir={'x' * 300}", "output_dir has the wrong type"),
    (f"output_dir={'/'.join(['x' * 200] * 30)}", "output_dir has the wrong type"),
    (f"model.weights={'x' * 5000}", "model.weights"),
    ("output_dir=/dev/null", "output_dir: cannot write in '/dev/null': it is no folder"),
    ("output_dir=file", "is no folder"),
    ("output_dir=file/below", "is no folder"),
    ("output_dir=dangling", "it is a link to nothing"),
    ("output_dir=dangling/below", "it is a link to nothing"),
    ("model.device='${oc.env:HOME}'", "functions in ${...} are not run"),
    ("seed=${engine}x${nope}", "nope"),
    ("allow_code=[[a]]", "allow_code"),
    ("allow_code=5", "allow_code"),
    ("hydra.sweep.dir=elsewhere", "Hydra's own settings are not open"),
    ("+hydra.job.env_set.X=1", "Hydra's own settings are not open"),
    ("hydra/launcher=basic", "add -m"),
    ("method@hydra.x=razor", "a group lands in the place that has its name"),
    ("grid=[{seed: [1]}]", "grid belongs into the file"),
    ("jobs=2", "jobs spreads the grid"),
    ("", "not a setting"),
    ("=1", "value cannot be read"),
    ("~nope", "nope"),
    ("method.retries=[{_target_: os.system}]", "no class is chosen here"),
]


@pytest.mark.parametrize(("word", "named"), VALUES, ids=[w[:40] for w, _ in VALUES])
def test_value_that_cannot_be_used_is_refused(word: str, named: str, asked: list[Experiment]) -> None:
    assert named in refused([word], asked).err


SWEEPS = [
    (["seed=range(0,0)"], "it has no values"),
    (["seed=range(0,1e12)"], "too many values"),
    (["seed=shuffle(range(0,100000000000))"], "too many values"),
    (["seed=range(0,5,0)"], "too many values"),
    (["seed=range(0,200)", "data.n_forget=range(1,200)"], "the sweep has too many jobs"),
    (["seed=interval(0,1)"], "an interval has no list of values"),
    (["seed=glob(*)"], "chooses among the options of a group"),
    (["method=glob(zz*)"], "chooses among the options of a group"),
    (["hydra.launcher.nope=1"], "hydra.launcher.nope"),
    (["hydra/launcher=nope"], "hydra/launcher=nope: there is no such launcher\n  allowed: basic"),
    (["hydra/launcher=submitit_slurm", "seed=0,1"], "there is no srun on this machine"),
    (["hydra.callbacks.x._target_=os.getcwd"], "Hydra's own settings are not open"),
    (["hydra.sweeper.params.seed=1"], "Hydra's own settings are not open"),
    (["hydra.launcher._target_=os.getcwd"], "Hydra's own settings are not open"),
    (["seed=0,1", "jobs=2"], "jobs spreads the grid"),
    (["seed=0,1", "grid=[{seed: [1]}]"], "grid belongs into the file"),
    (["seed=0,1", "grid=[{seed: [1]}]", "dry_run=true"], "grid belongs into the file"),
    (["seed=0,1", "output_dir=/dev/null"], "output_dir: cannot write in '/dev/null'"),
    (["experiment=seeds", "seed=0,1", "--config-dir", "own"], "this experiment is a grid"),
    (["experiment=seeds", "dry_run=true", "--config-dir", "own"], "this experiment is a grid"),
    (["experiment=plan", "--config-dir", "own"], "dry_run"),
    (["dry_run=false,true"], "dry_run holds for the whole sweep"),
    (["jobs=1,2"], "jobs holds for the whole sweep"),
    (["seed=0,1", "debug=true,false"], "debug holds for the whole sweep"),
    (["fail_fast=true,false"], "fail_fast holds for the whole sweep"),
    (["experiment=tiny,seeds", "--config-dir", "own"], "experiment=seeds,…: this experiment is a grid"),
    (["experiment=tiny,table3", "method=none"], "experiment=table3,…: this experiment is a grid"),
]


@pytest.mark.parametrize(("words", "named"), SWEEPS, ids=[" ".join(w)[:40] for w, _ in SWEEPS])
def test_sweep_that_cannot_be_run_is_refused(words: list[str], named: str, asked: list[Experiment]) -> None:
    found = refused(["-m", *words], asked)
    assert named in found.err + found.out


FLAGS = [
    (["--config-dir", "nowhere"], "--config-dir nowhere"),
    (["--config-dir", "file"], "--config-dir file"),
    (["--config-dir", ""], "--config-dir"),
    (["--config-dir", "x" * 5000], "--config-dir"),
    (["--cfg", "job", "-p", "nope"], "-p nope"),
    (["--cfg", "job", "-p", "a[b"], "a[b"),
    (["-p", "model"], "add --cfg job"),
    (["--resolve"], "add --cfg job"),
    (["-m", "--cfg", "job", "seed=0,1"], "leave -m out"),
    (["--dry-run"], "fix: write dry_run=true"),
    (["--dry_run", "seed=1"], "fix: write dry_run=true"),
    (["--seed=3"], "fix: write seed=3"),
    (["--nope"], "settings are words: KEY=VALUE"),
    (["target=Taylor", "Swift"], 'fix: target="Taylor Swift"'),
    (["-m", "target=Taylor", "Swift,Lady", "Gaga"], 'fix: target="Taylor Swift,Lady Gaga"'),
    (["method=dampen"], "--config-dir DIR for one of yours, in DIR/method/dampen.yaml"),
    (["method=dampen", "--config-dir", "own"], "the folder of --config-dir has no method/dampen.yaml"),
    (["method=razr"], "fix: did you mean method=razor?"),
    (["-m", "method.roh=0.1,0.2"], "did you mean method.rho?"),
]


@pytest.mark.parametrize(("words", "named"), FLAGS, ids=[" ".join(w)[:40] for w, _ in FLAGS])
def test_flag_that_says_nothing_is_refused(words: list[str], named: str, asked: list[Experiment]) -> None:
    assert named in refused(words, asked).err


def test_wrong_key_of_a_sweep_is_said_once(asked: list[Experiment]) -> None:
    assert refused(["-m", "seed=0,1", "method.roh=0.1,0.2"], asked).err.count("did you mean") == 1


def test_sweep_of_which_a_point_can_run_goes_on(asked: list[Experiment]) -> None:
    found = answer(["-m", "method=none", "seed=-1,0"], Path.cwd())
    assert (found.code, [e.seed for e in asked]) == (2, [0]) and "1 finished, 1 failed" in found.out


def test_what_is_allowed_stands_below_each_other_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    assert main.razor_command(["list", "methods", "razr"]) == 2
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 60 and len(lines) > 8 and lines[-1].startswith("  fix: did you mean razor")


@pytest.mark.parametrize(
    ("word", "named"), [("run", "razor-run KEY=VALUE"), ("shw", "did you mean razor show")]
)
def test_command_that_there_is_not_is_met_with_the_one_that_was_meant(
    word: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.razor_command([word]) == 2
    assert named in capsys.readouterr().err


@pytest.mark.parametrize("name", ["method/none.yaml", "config.yaml", "family/clip.yaml"])
def test_file_that_ours_would_hide_is_refused(name: str, asked: list[Experiment], tmp_path: Path) -> None:
    file = tmp_path / "own" / name
    file.parent.mkdir(exist_ok=True)
    file.write_text("seed: 1\n")
    assert f"{file.name} would not be read" in refused(["--config-dir", "own"], asked).err
    file.write_bytes((conf_dir() / name).read_bytes())
    assert answer(["--config-dir", "own"], Path.cwd()).wrong() == "" and len(asked) == 1


def test_glob_over_a_group_chooses_its_options(asked: list[Experiment]) -> None:
    assert answer(["-m", "method=glob([none,ran*])"], Path.cwd()).wrong() == ""
    assert [e.method.name for e in asked] == ["none", "random"]


def test_sweep_leaves_only_its_runs(asked: list[Experiment]) -> None:
    found = answer(["-m", "seed=0,1", "method=none"], Path.cwd())
    assert (found.code, found.left, [e.seed for e in asked]) == (0, [], [0, 1])


def test_quotes_belong_to_a_target(asked: list[Experiment]) -> None:
    for target in ('"Heroes"', "'Heroes'", '"', "it's"):
        assert answer([f"target={target}"], Path.cwd()).code == 0
    assert [e.target for e in asked] == ['"Heroes"', "'Heroes'", '"', "it's"]


def test_plan_of_one_run_reads_a_comma_as_the_run_does(asked: list[Experiment]) -> None:
    found = refused(["seed=0,1", "dry_run=true"], asked)
    assert "add -m" in found.err


def test_plan_in_a_file_holds_for_a_grid(asked: list[Experiment], tmp_path: Path) -> None:
    file = tmp_path / "own/experiment/planned.yaml"
    file.write_text("# @package _global_\ndry_run: true\ngrid:\n  - {seed: [0, 1], method: [none]}\n")
    assert answer(["--config-dir", "own", "experiment=planned"], tmp_path).code == 0 and asked == []


@pytest.mark.parametrize("word", ["jobs=2", "grid=[]", "experiment=tiny", "fail_fast=true"])
def test_propositions_pass_no_word_over(
    word: str, asked: list[Experiment], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.razor_command(["propositions", word]) == 2
    assert "not a setting of razor propositions" in capsys.readouterr().err


def test_propositions_list_their_jobs(asked: list[Experiment], capsys: pytest.CaptureFixture[str]) -> None:
    before = set(Path.cwd().rglob("*"))
    assert main.razor_command(["propositions", "scenario=identity", "dry_run=true"]) == 0
    out = capsys.readouterr().out
    assert out.count("identity") == 7 and "class" not in out and "nothing was started" in out
    assert set(Path.cwd().rglob("*")) == before
