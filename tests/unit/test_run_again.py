"""`razor run-again`: what it says of conditions and scores that are not as they were."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from fake_runs import fake_run, percent, provenance

from razor_cli.commands.run_again import conditions, differences, experiment_of
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.settings import Experiment, composed, resolved
from razor_cli.errors import ConfigError
from razor_cli.main import razor_command
from razor_cli.runs.folder import Run, open_run


def recorded(folder: Path, *words: str) -> Run:
    """Return a run with invented numbers and the settings of a command line."""
    asked, like = checked(read(list(words))), fake_run(folder / "like")
    with open_run(folder, "identity", "razor", "0123456789abcdef") as run:
        run.write_config(composed(asked))
        for name in ("scores.csv", "edit_log.csv"):
            run.path(name).write_text(like.read(name).replace(like.run_id, run.run_id))
        run.finish(like.record.model_copy(update={"run_id": run.run_id, "settings": resolved(asked)}))
    return run


def test_settings_are_those_that_were_recorded(tmp_path: Path) -> None:
    words = ["target=Conan O'Brien", "method=slug", "method.search_steps=5", "seed=3", "quantization=int4"]
    run = recorded(tmp_path / "outputs", *words)
    again = experiment_of(run, tmp_path / "again")
    assert resolved(again) == resolved(checked(read(words)))
    assert (again.output_dir, again.force, again.threads) == (tmp_path / "again", True, 2)


def test_what_differs_is_said(tmp_path: Path) -> None:
    before = provenance(0, "2026-01-01T00:00:00.000+00:00")
    assert conditions(before, before) == ["code, versions, machine, weights and data are as they were"]
    changes = {"python": "3.13.1", "libraries": {"torch": "3.0"}, "data_fingerprints": {"forget": "0" * 64}}
    found = conditions(before, before.model_copy(update=changes))
    assert found[0] == "not as it was:" and "  python: 3.12.1 then, 3.13.1 now" in found
    assert "  torch: 2.8.0 then, 3.0 now" in found and "  numpy: 2.1.0 then, none now" in found
    assert f"  data: forget: {'cd' * 8}… then, {'0' * 16}… now" in found
    old, new = fake_run(tmp_path / "a"), fake_run(tmp_path / "b", quantizations=("none",), offset=0.5)
    lines, count = differences(old, new)
    assert lines[0] == f"scores: {len(old.measured) - count} of {len(old.measured)} are equal" and count > 12
    assert lines[-1] == f"  and {count - 12} more that differ less"
    assert any(line.endswith("not scored now") for line in lines)
    assert differences(old, old) == ([f"scores: {len(old.measured)} of {len(old.measured)} are equal"], 0)
    more = fake_run(tmp_path / "c", extra={("edit", "none"): [percent("m9", "x", "down", 1.0)]})
    assert differences(old, more)[0][1] == "  m9 x of edit: not scored then, 1 now"


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run = recorded(tmp_path / "outputs", "seed=3")
    asked: list[Experiment] = []

    def perform(experiment: Experiment, console: Any) -> tuple[Run, bool]:
        asked.append(experiment)
        return (fake_run(experiment.output_dir, offset=1.0) if len(asked) > 1 else run), True

    fake: Any = ModuleType("razor_cli.run")
    fake.perform = perform
    monkeypatch.setitem(sys.modules, "razor_cli.run", fake)
    assert razor_command(["run-again", "0123", f"output_dir={tmp_path / 'outputs'}"]) == 0
    assert "are equal" in capsys.readouterr().out and not asked[0].output_dir.exists()
    words = ["run-again", "latest", "--output-dir", str(tmp_path / "outputs"), "--into"]
    assert razor_command([*words, str(tmp_path / "more")]) == 1
    out = capsys.readouterr().out
    assert f"recorded: {tmp_path / 'more'}" in out and "m1 dual/generic of edit: 5.5 then, 6.5 now" in out
    assert razor_command([*words, str(tmp_path / "outputs")]) == 2
    assert "--into: the recorded run lies there" in capsys.readouterr().err


def test_a_class_of_a_package_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    settings = composed(experiment_of(run, tmp_path))
    settings["method"]["_target_"] = "theirs.Method"
    with open_run(tmp_path, "identity", "razor", "f" * 16) as other:
        other.write_config(settings)
        for name in ("scores.csv", "edit_log.csv"):
            other.path(name).write_text(run.read(name))
        other.finish(run.record.model_copy(update={"run_id": "f" * 16}))
    with pytest.raises(ConfigError, match=f"razor run-again {'f' * 16} --allow-code theirs"):
        experiment_of(other, tmp_path / "again")
