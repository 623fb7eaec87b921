"""Where results lie may be said in two ways, or by the environment; what version, which runs there are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from razor_cli import __version__
from razor_cli.config.output_place import as_options, as_settings
from razor_cli.main import parse, razor_command, run_command

sys.path.append(str(Path(__file__).parents[1] / "unit"))  # where the maker of runs lies
from fake_runs import fake_run


@pytest.mark.parametrize(
    "words",
    [
        ["output_dir=here", "method=slug"],
        ["--output-dir", "here", "method=slug"],
        ["method=slug", "--output-dir=here"],
        ["output_dir=there", "method=slug", "--output-dir", "here"],
    ],
)
def test_experiments_take_both(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_OUTPUT_DIR", "elsewhere")  # the command line goes before it
    found = [word for word in parse(words).overrides if "=" in word]
    assert found[-1] == "output_dir=here" or found == ["output_dir=here", "method=slug"]


def test_the_environment_counts_where_the_command_line_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse(["method=slug"]).overrides == ["method=slug"]
    monkeypatch.setenv("RAZOR_OUTPUT_DIR", "my, results")
    assert parse(["method=slug"]).overrides == ["method=slug", 'output_dir="my, results"']
    assert as_settings(["-m"], None)[-1] == 'output_dir="my, results"'
    assert as_options(["show", "latest"]) == ["show", "latest", "--output-dir", "my, results"]
    assert as_options(["doctor"]) == ["doctor", "output_dir=my, results"]
    for words in (["patch", "show", "x"], ["data", "prepare", "cifar10"], ["--help"], ["show", "--help"]):
        assert as_options(words) == words


@pytest.mark.parametrize("command", ["list", "show", "judge", "query", "tables", "propositions", "run-again"])
def test_commands_take_both(command: str) -> None:
    expected = [command, "x", "--output-dir", "a=b"]
    assert as_options([command, "output_dir=a=b", "x"]) == expected
    assert as_options([command, "--output-dir", "a=b", "x"]) == as_options(expected) == expected
    assert as_options(["data", "clean", "output_dir=d"]) == ["data", "clean", "--output-dir", "d"]
    assert as_options(["doctor", "--output-dir=d", "threads=1"]) == ["doctor", "threads=1", "output_dir=d"]


def test_runs_are_listed_and_shown_from_any_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    old = fake_run(tmp_path / "mine", target="Ada")
    new = fake_run(tmp_path / "mine", target="Bo", seed=3, finished="2026-09-09T00:00:00.000+00:00")
    monkeypatch.setenv("RAZOR_OUTPUT_DIR", "mine")
    assert razor_command(["list", "runs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    runs = [line for line in lines[2:-1] if line[:1].strip()]  # below each stand its settings
    assert [line.split()[0] for line in runs] == [new.run_id, old.run_id] and lines[-1] == "2 runs"
    assert "clip_tiny · identity Bo · razor · seed 3" in runs[0] and "ACCEPTED" in runs[0]
    assert razor_command(["list", "runs", old.run_id[:6]]) == 0
    assert new.run_id not in (out := capsys.readouterr().out) and out.endswith("1 of 2 runs\n")
    assert razor_command(["show", "output_dir=mine"]) == 0 and new.run_id in capsys.readouterr().out
    assert razor_command(["list", "runs", "output_dir=none"]) == 2
    assert "no complete run is recorded under 'none'" in capsys.readouterr().err


def test_experiments_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert razor_command(["list", "experiments"]) == 0
    assert "\ntable3 " in capsys.readouterr().out
    assert razor_command(["list", "experiments", "table3"]) == 0
    assert "grid:" in capsys.readouterr().out


@pytest.mark.parametrize("called", [razor_command, run_command])
def test_version(called: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert callable(called) and called(["--version"]) == 0
    assert capsys.readouterr().out == f"razor-cli {__version__}\n"
