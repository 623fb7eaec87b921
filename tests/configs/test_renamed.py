"""Names that have changed are understood for a release, on the command line and in a user's own files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from razor_cli.commands.list import Kind, whole
from razor_cli.config import renamed
from razor_cli.config.check import check
from razor_cli.config.command_line import read
from razor_cli.config.compose import compose
from razor_cli.config.conf_files import conf_dir, groups
from razor_cli.errors import ConfigError
from razor_cli.grid import blocks
from razor_cli.main import run_command

FLOORS = "method.retries=[{floor: {m5: 99, m4_drop: 3}}]"


@pytest.fixture(autouse=True)
def unsaid() -> Iterator[None]:
    """Say again what was said in an earlier test."""
    renamed.announce.cache_clear()
    yield
    renamed.announce.cache_clear()


@pytest.fixture
def moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pretend that some keys had other names and places."""
    monkeypatch.setattr(
        renamed, "KEYS", {"method.share": "method.rho", "seeds": "seed", "data.most": "data.suite_roots.a.b"}
    )


def write(folder: Path, name: str, text: str) -> str:
    file = folder / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(folder)


def test_every_old_name_leads_to_an_option_and_none_is_one() -> None:
    options = set(groups([conf_dir()])["method"])
    assert set(renamed.OPTIONS["method"].values()) <= options
    assert not set(renamed.OPTIONS["method"]) & options


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("method=razor_paper", "method=razor/paper"),
        ("+method='ga_kl_tan'", "method='ga_kl/tan'"),
        ("method=salun_tan_cars", "method=salun/tan_cars"),
    ],
)
def test_an_old_name_is_the_new_one_and_said_once(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        assert read([old]).overrides == read([new]).overrides == [new]
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"{old.lstrip('+')} is now {new}".replace("'", ""))


def test_old_names_in_a_sweep(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ("method=razor,razor_paper", "method=choice(razor, razor_paper)"):
        assert "razor/paper" in read([words], multirun=True).overrides[0]
    asked = blocks.read(["method=razor,razor_paper"], "", [{}])
    assert asked.blocks == [{"method": ["razor", "razor/paper"]}]
    assert capsys.readouterr().err.count("\n") == 1


def test_old_names_in_the_grid_of_an_experiment(tmp_path: Path, moved: None) -> None:
    text = "# @package _global_\ngrid:\n  - {method: [razor, razor_paper], method.share: [0.5], seed: 1}\n"
    folder = write(tmp_path, "experiment/mine", text)
    found = blocks.chosen_blocks(["experiment=mine"], folder)
    assert found == ("mine", [{"method": ["razor", "razor/paper"], "method.rho": [0.5], "seed": [1]}])


def test_an_old_name_narrows_a_shipped_grid() -> None:
    found = blocks.chosen_blocks(["experiment=propositions"])
    assert found is not None
    asked = blocks.read(["experiment=propositions", "method=razor_paper"], *found)
    assert {tuple(b["method"]) for b in asked.blocks} == {("razor/paper",)}


def test_old_names_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    old, new = (whole(Kind.METHODS, name, [conf_dir()]) for name in ("razor_paper", "razor/paper"))
    assert old == new
    assert "method=razor_paper is now method=razor/paper" in capsys.readouterr().err


def test_an_old_name_that_the_user_has_is_the_users(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write(tmp_path, "method/razor_paper", "defaults: [razor, _self_]\nname: own\n")
    assert compose(read(["method=razor_paper"], extra=folder)).method.name == "own"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "base", ["razor_paper", "razor/paper", "/method/razor/paper@_here_", "/method/razor_paper@_here_"]
)
def test_a_preset_of_the_users_builds_on_a_variant(base: str, tmp_path: Path) -> None:
    folder = write(tmp_path, "method/mine", f"defaults: [{base}, _self_]\nrho: 0.125\n")
    found = compose(read(["method=mine"], extra=folder)).method
    assert (found.rho, found.name, "razor" in found) == (0.125, "razor_paper", False)


def test_an_experiment_of_the_users_names_an_old_preset(
    tmp_path: Path, moved: None, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "# @package _global_\ndefaults:\n  - override /method: slug_code\n\nmethod:\n  share: 1\nseeds: 4\n"
    )
    cfg = compose(read(["experiment=mine"], extra=write(tmp_path, "experiment/mine", text)))
    assert (cfg.method.name, cfg.method.rho, cfg.seed) == ("slug_code", 1, 4)
    assert "method=slug_code is now method=slug/code" in capsys.readouterr().err


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_old_keys_on_the_command_line(plus: str, moved: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert compose(read([f"{plus}method.share=0.25"])).method.rho == 0.25
    assert read([f"{plus}method.share=0.25,0.5"], multirun=True).overrides == ["++method.rho=0.25,0.5"]
    assert capsys.readouterr().err.splitlines() == [
        "method.share is now method.rho; the old name is understood until the next release"
    ]


def test_old_keys_in_a_preset_of_the_users(tmp_path: Path, moved: None) -> None:
    text = "defaults: [razor, _self_]\nshare: 0.25\nretries: [{share: 0.75}, {selector: phi}]\n"
    folder = write(tmp_path, "method/mine", text)
    write(tmp_path, "data/mine", "defaults: [standin, _self_]\nmost: x\n")
    cfg: Any = compose(read(["method=mine", "data=mine"], extra=folder))
    assert (cfg.method.rho, cfg.method.retries) == (0.25, [{"rho": 0.75}, {"selector": "phi"}])
    assert cfg.data.suite_roots == {"a": {"b": "x"}}
    over = compose(read(["method=mine", "method.rho=0.5"], extra=folder))
    assert over.method.rho == 0.5


def test_a_sweep_reads_the_users_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moved: None
) -> None:
    folder = write(tmp_path, "method/mine", "defaults: [razor_paper, _self_]\nshare: 0.25\n")
    seen: list[Any] = []
    monkeypatch.setattr("razor_cli.sweep.check", lambda cfg, **_: seen.append(cfg.method) or 1 / 0)
    assert run_command(["-m", "--config-dir", folder, "method=mine,razor_paper"]) == 1
    assert [(m.name, m.rho) for m in seen] == [("razor_paper", 0.25), ("razor_paper", 0.5)]


@pytest.mark.parametrize(
    ("old", "new"), [("top5_zero", "fa_top5"), ("top1_zero", "fa_top1"), ("m1_below", "m1_mean")]
)
def test_old_values_of_a_criterion_are_understood(
    old: str, new: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read([f"method.criterion={old}"]).overrides == read([f"method.criterion={new}"]).overrides
    assert f"method.criterion={old} is now method.criterion={new}" in capsys.readouterr().err


def test_old_keys_within_the_list_of_retries(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["target=Taylor Swift", "method=razor", "method.retries=[{search_floor: 99, search_m4_drop: 3}]"]
    experiment = check(compose(read(words)))
    assert experiment.method.retries == check(compose(read([*words[:2], FLOORS]))).method.retries
    assert "method.search_floor is now method.floor.m5" in capsys.readouterr().err


def test_a_key_that_nothing_stands_for_is_refused_with_what_to_say() -> None:
    with pytest.raises(ConfigError, match="target_m1_prompts is gone") as caught:
        read(["method.target_m1_prompts=mean"])
    assert "method.target.m1_mean=X" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("exit_on_reject=true", "exit_on=rejected"),
        ("+exit_on_reject=True", "+exit_on=rejected"),
        ("exit_on_reject=false", "exit_on=null"),
    ],
)
def test_former_switch_of_the_gate(old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(compose(read([old]))).exit_on == check(compose(read([new]))).exit_on
    said = capsys.readouterr().err
    assert f"{old.lstrip('+').lower()} is now {new.lstrip('+')}" in said


def test_former_switch_of_the_gate_in_files_and_grids(tmp_path: Path) -> None:
    text = "# @package _global_\nexit_on_reject: true\n"
    folder = write(tmp_path, "experiment/mine", text)
    assert compose(read(["experiment=mine"], extra=folder)).exit_on == "rejected"
    assert compose(read(["experiment=mine", "exit_on=undecided"], extra=folder)).exit_on == "undecided"
    grid = "# @package _global_\ngrid:\n  - {method: [none], exit_on_reject: [true, false]}\n"
    found = blocks.chosen_blocks(["experiment=grid"], write(tmp_path, "experiment/grid", grid))
    assert found == ("grid", [{"method": ["none"], "exit_on": ["rejected", None]}])
