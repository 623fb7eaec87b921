"""Every `razor` command that writes, stopped in the middle of it: line, exit code, and what is left."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import patch_cases
import pytest
from fake_runs import fake_run
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from pictures import write_cifar_binary

import razor_cli.data.fetch
import razor_cli.studies.propositions_run
import razor_cli.tables.base
import razor_cli.weights.patch
from razor_cli import sweep
from razor_cli.errors import ConfigError
from razor_cli.main import razor_command
from razor_cli.stopping import Stopped, end_with_parent, failure_mark, keeping, last_words, orderly

PATCH = ["patch", "apply", "p.safetensors", "--base", "base.safetensors", "--out", "out.safetensors"]
REVERT = ["patch", "revert", "out.safetensors", "--base", "base.safetensors", "--out", "back.safetensors"]
COMMANDS = {
    "apply": (PATCH, razor_cli.weights.patch, "state_hash", "no output is half written"),
    "revert": (REVERT, razor_cli.weights.patch, "state_hash", "no output is half written"),
    "tables": (["tables", "table3"], razor_cli.tables.base, "render", "the old one or the new one"),
    "propositions": (
        ["propositions", "target=Boris Tamm"],
        razor_cli.studies.propositions_run,
        "measured",
        "0 of 2 jobs are kept; the same command goes on",
    ),
    "prepare": (
        ["data", "prepare", "cifar10", "--from", "from", "--to", "to"],
        razor_cli.data.fetch,
        "check_cifar10",
        "nothing half fetched",
    ),
}


def left(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", COMMANDS)
def test_stopped_command_leaves_what_was_there(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    number: int,
    code: int,
) -> None:
    words, module, function, kept = COMMANDS[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "user"))
    patch_cases.fill(tmp_path)
    fake_run(tmp_path / "outputs")
    write_cifar_binary(tmp_path / "from")
    if name == "revert":
        assert razor_command(PATCH) == 0
    if name == "tables":
        (tmp_path / "outputs/tables").mkdir()
    before = left(tmp_path)
    capsys.readouterr()

    def stopped(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), number)
        raise AssertionError("nobody heard it")

    monkeypatch.setattr(module, function, stopped)
    assert razor_command(words) == code
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert line.startswith(("stopped by SIGTERM: ", "interrupted: ")) and kept in line
    assert [p for p in left(tmp_path) if "user" not in p.parts] == before


def test_killed_patch_is_settled_by_the_next_command_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    patch_cases.fill(tmp_path)
    monkeypatch.chdir(tmp_path)
    real: Callable[..., None] = os.replace

    def dying(first: Any, second: Any) -> None:
        real(first, second)
        if str(second).endswith("undo.safetensors"):  # the undo file has its name, the weights have not
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if not child:
        os.replace = dying  # type: ignore[assignment]
        razor_command(PATCH)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not (tmp_path / "out.safetensors").exists()
    assert razor_command(["patch", "show", "p.safetensors"]) == 0
    assert "completed what a killed command had begun" in capsys.readouterr().err
    undo = ["--undo", "out.safetensors.undo.safetensors", "--out", "back.safetensors"]
    assert razor_command(["patch", "revert", "out.safetensors", *undo]) == 0
    assert list(tmp_path.glob(".razor-tmp-*")) == []


def test_stop_that_a_library_makes_a_failure_of_its_own_is_still_a_stop() -> None:
    with orderly() as watch:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped as stop:
            assert watch.stop is stop
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL  # a second one ends it at once


def test_a_point_of_a_sweep_that_a_library_fails_for_a_stop_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def check(cfg: object, **_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except Stopped:
            raise ValueError("what the library makes of it") from None

    known = SimpleNamespace(overrides=SimpleNamespace(task=["seed=1"]), job=SimpleNamespace(num=0))
    monkeypatch.setattr(HydraConfig, "get", lambda: known)
    monkeypatch.setattr(sweep, "check", check)
    job = sweep.Job()
    with pytest.raises(Stopped), orderly():
        job(OmegaConf.create())
    assert job.outcomes == []


def test_a_failure_in_another_process_is_marked_where_nothing_was_written_yet(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def check(cfg: object, **_: object) -> None:
        raise ConfigError("refused")

    known = SimpleNamespace(overrides=SimpleNamespace(task=["seed=1"]), job=SimpleNamespace(num=0))
    monkeypatch.setattr(HydraConfig, "get", lambda: known)
    monkeypatch.setattr(sweep, "check", check)
    with failure_mark(tmp_path / "new") as failed:
        job = sweep.Job(fail_fast=True, failed=failed, process="another machine 1")
        assert job(OmegaConf.create()).exit_code == 2
        assert failed.exists() and not job(OmegaConf.create()).started
    assert not failed.exists()


def test_handlers_are_as_before_and_ignored_signals_stay_ignored() -> None:
    ours = (signal.SIGINT, signal.SIGTERM)
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    handlers = [signal.getsignal(n) for n in ours]
    try:
        with orderly():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert all(signal.getsignal(n) is not h for n, h in zip(ours, handlers, strict=True))
        assert [signal.getsignal(n) for n in ours] == handlers
    finally:
        signal.signal(signal.SIGHUP, before)


def test_innermost_knowledge_of_what_is_kept_is_told() -> None:
    with pytest.raises(KeyboardInterrupt) as raised, keeping(lambda: "outer"), keeping(lambda: "inner"):
        raise KeyboardInterrupt
    assert last_words(raised.value, "default") == ("interrupted: inner", 130)
    assert last_words(Stopped(signal.SIGTERM), "default") == ("stopped by SIGTERM: default", 143)


def test_process_that_ignores_its_stop_is_ended(tmp_path: Path) -> None:
    child = os.fork()
    if not child:
        from razor_cli import stopping

        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        stopping.GRACE = 0.2
        end_with_parent()  # nothing here: multiprocessing did not start it
        with orderly():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
            except Stopped:
                signal.pause()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143
