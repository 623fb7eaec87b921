"""A refused run leaves no lock and no folder; whatever stood there before, or came from others, stays."""

from pathlib import Path

import pytest

from razor_cli.errors import ConfigError, RunError, UserError
from razor_cli.runs.folder import open_run

WHERE = ("identity", "ft", "0123456789abcdef")


def end_with(error: Exception, output: Path) -> None:
    with pytest.raises(type(error)), open_run(output, *WHERE):
        raise error


def test_refused_run_leaves_nothing(tmp_path: Path) -> None:
    end_with(ConfigError("method.exclude: no"), tmp_path / "a/b")
    assert list(tmp_path.iterdir()) == []


def test_folders_that_were_there_or_are_used_stay(tmp_path: Path) -> None:
    (tmp_path / "runs/identity").mkdir(parents=True)
    end_with(UserError("no"), tmp_path)
    assert [p.name for p in tmp_path.rglob("*")] == ["runs", "identity"]
    with pytest.raises(UserError), open_run(tmp_path, *WHERE):
        (tmp_path / "runs/identity/ft/.other.lock").write_text("")
        raise UserError("no")
    assert [p.name for p in (tmp_path / "runs/identity/ft").iterdir()] == [".other.lock"]


def test_failure_keeps_its_lock(tmp_path: Path) -> None:
    end_with(RunError("it broke"), tmp_path)
    assert (tmp_path / "runs/identity/ft").is_dir()
