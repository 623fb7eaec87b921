"""A hostile folder given by --config-dir: what it names is not called, not written and not told."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from hostile_files import OWN, lay_out
from refusals import answer, stop_before_weights

from razor_cli.config.settings import Experiment

SECRET = "s3cr3t-of-the-environment"
CALLBACKS = "callbacks: {x: {_target_: hostile.call}}"
LOGGING = "{version: 1, handlers: {x: {(): hostile.call}}, root: {handlers: [x]}}"
GLOBAL = "# @package _global_\n"
FILES = {  # file of the folder: its text
    "experiment/callbacks.yaml": f"{GLOBAL}hydra:\n  {CALLBACKS}\n",
    "experiment/job_logging.yaml": f"{GLOBAL}hydra:\n  job_logging: {LOGGING}\n",
    "experiment/hydra_logging.yaml": f"{GLOBAL}hydra:\n  hydra_logging: {LOGGING}\n",
    "experiment/launcher.yaml": f"{GLOBAL}hydra: {{launcher: {{_target_: hostile.call}}}}\n",
    "experiment/sweeper.yaml": f"{GLOBAL}hydra: {{sweeper: {{params: {{seed: '1,2'}}}}}}\n",
    "experiment/sweep_dir.yaml": f"{GLOBAL}hydra: {{sweep: {{dir: elsewhere}}}}\n",
    "experiment/subdir.yaml": f"{GLOBAL}hydra: {{sweep: {{subdir: ../elsewhere}}}}\n",
    "experiment/output_subdir.yaml": f"{GLOBAL}hydra: {{output_subdir: elsewhere}}\n",
    "experiment/chdir.yaml": f"{GLOBAL}hydra: {{job: {{chdir: true}}}}\n",
    "experiment/env_set.yaml": f"{GLOBAL}hydra: {{job: {{env_set: {{PATH: elsewhere}}}}}}\n",
    "experiment/env_copy.yaml": f"{GLOBAL}hydra: {{job: {{env_copy: [SECRET]}}}}\n",
    "experiment/chosen.yaml": f"{GLOBAL}defaults:\n  - /hydra/callbacks: evil\n",
    "hydra/callbacks/evil.yaml": "x: {_target_: hostile.call}\n",
    "experiment/replaced.yaml": f"{GLOBAL}defaults:\n  - override /hydra/launcher: basic\n",
    "experiment/placed.yaml": f"{GLOBAL}defaults:\n  - /method/plain@hydra.callbacks.x: none\n",
    "method/plain/none.yaml": "_target_: hostile.call\n",
    "experiment/hydra.yaml": f"{GLOBAL}defaults:\n  - /named/hydra@_name_\n",
    "named/hydra.yaml": f"{CALLBACKS}\n",
    "experiment/moved.yaml": f"{GLOBAL}defaults:\n  - /named/whole@_global_\n",
    "named/whole.yaml": f"hydra: {{{CALLBACKS}}}\n",
    "method/header.yaml": "# @package hydra.callbacks\nx: {_target_: hostile.call}\n",
    "method/deep.yaml": "# @package _global_.hydra.callbacks\nx: {_target_: hostile.call}\n",
    "method/target.yaml": "_target_: hostile.call\n",
    "method/nested.yaml": "defaults: [razor, _self_]\nretries: [{_target_: hostile.call}]\n",
    "experiment/acceptance.yaml": f"{GLOBAL}scenario: {{acceptance: {{x: {{_target_: hostile.call}}}}}}\n",
    "experiment/root.yaml": f"{GLOBAL}_target_: hostile.call\n",
    "experiment/env.yaml": f"{GLOBAL}target: ${{oc.env:SECRET}}\n",
    "experiment/env_choice.yaml": f"{GLOBAL}defaults:\n  - override /method: ${{oc.env:SECRET}}\n",
    "experiment/env_decode.yaml": f"{GLOBAL}seed: ${{oc.decode:${{oc.env:SECRET}}}}\n",
    "experiment/env_spelt.yaml": f"{GLOBAL}judged_on: env\nengine: ${{oc.${{judged_on}}:SECRET}}\n",
    "experiment/env_select.yaml": f"{GLOBAL}engine: ${{oc.select:nope,${{oc.env:SECRET}}}}\n",
    "experiment/env_grid.yaml": f"{GLOBAL}grid:\n  - {{target: ['${{oc.env:SECRET}}'], method: [none]}}\n",
    "experiment/outside.yaml": f"{GLOBAL}defaults:\n  - ../../secret\n",
}
CHOICES = [
    f"{path.split('/')[0]}={path.split('/')[1].removesuffix('.yaml')}"
    for path in FILES
    if path.count("/") == 1 and not path.startswith("named/")
]


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Lay out the folder, and return what its function was called with."""
    calls: list[object] = []
    module = ModuleType("hostile")
    module.call = lambda *a, **k: calls.append((a, k))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hostile", module)
    monkeypatch.setenv("SECRET", SECRET)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    (tmp_path / "secret.yaml").write_text(f"target: {SECRET}\n")
    for name, text in FILES.items():
        file = work / "evil" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return calls


@pytest.mark.parametrize("sweep", [True, False], ids=["sweep", "run"])
@pytest.mark.parametrize("choice", CHOICES)
def test_file_calls_writes_and_tells_nothing(
    choice: str, sweep: bool, called: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stop_before_weights(monkeypatch)
    before = {p for p in tmp_path.rglob("*")}
    words = ["-m", "seed=0,1"] if sweep else []
    found = answer([*words, "--config-dir", "evil", choice], tmp_path / "work")
    assert found.code == 2 and found.wrong() == "" and called == [] and asked == []
    assert {p for p in tmp_path.rglob("*")} == before and Path.cwd() == tmp_path / "work"
    assert SECRET not in found.out + found.err


@pytest.mark.parametrize("choice", ["experiment=callbacks", "experiment=chdir", "experiment=env_set"])
def test_file_of_a_later_job_is_held_to_it_too(
    choice: str, called: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work/evil/experiment/mild.yaml").write_text(f"{GLOBAL}seed: 3\n")
    stop_before_weights(monkeypatch)
    words = ["-m", "--config-dir", "evil", f"experiment=mild,{choice.partition('=')[2]}"]
    found = answer(words, tmp_path / "work")
    assert found.code == 2 and found.wrong() == "" and called == [] and Path.cwd() == tmp_path / "work"


@pytest.mark.parametrize("flag", [["--cfg", "all"], ["--cfg", "job", "--resolve"], ["--info", "defaults"]])
def test_showing_tells_no_secret(
    flag: list[str], called: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = answer([*flag, "--config-dir", "evil", "experiment=env"], tmp_path / "work")
    assert found.code == 2 and SECRET not in found.out + found.err and "on the command line" in found.err


def test_secret_of_the_environment_stays_a_name_on_the_command_line_too(
    called: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = stop_before_weights(monkeypatch)
    found = answer(["engine=${oc.env:SECRET}"], tmp_path / "work")
    assert found.code == 2 and SECRET not in found.out + found.err
    assert answer(["target=${oc.env:SECRET}"], tmp_path / "work").code == 0  # text, and nothing else
    assert [e.target for e in asked] == ["${oc.env:SECRET}"]


@pytest.mark.parametrize(
    ("line", "named"),
    [("label: ${oc.env:SECRET}", 'method.label="$NAME"'), ("${oc.env:SECRET}: 1", 'method="$NAME"')],
)
def test_refused_function_is_told_by_the_key_that_one_types(line: str, named: str, tmp_path: Path) -> None:
    (tmp_path / "own/method").mkdir(parents=True)
    (tmp_path / "own/method/mine.yaml").write_text(f"defaults: [none]\n{line}\n")
    found = answer(["--config-dir", str(tmp_path / "own"), "method=mine"], tmp_path)
    assert found.code == 2 and found.wrong() == "" and named in found.err


HARMFUL = "bomb circle tagged no_yaml text list binary deep grows names_itself itself odd_defaults".split()


@pytest.mark.parametrize("name", HARMFUL)
def test_yaml_that_would_grow_or_is_none_ends_in_a_line_at_once(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert name in OWN["method"]
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    asked: list[Experiment] = stop_before_weights(monkeypatch)
    answer([], tmp_path)  # what is imported once is not counted
    asked.clear()
    start = time.process_time()
    found = answer(["--config-dir", "own", f"method={name}"], tmp_path)
    assert time.process_time() - start < 1.5
    assert found.code == 2 and found.wrong() == "" and asked == [] and len(found.err) < 3000
