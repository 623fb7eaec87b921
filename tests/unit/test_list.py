"""`razor list`: it reads at 80 columns, tells what serves a model, and what a run was made with."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_runs import fake_run
from typer.testing import CliRunner

from razor_cli.commands.list import Kind, settings, whole
from razor_cli.config.conf_files import conf_dir
from razor_cli.config.served import families_served
from razor_cli.errors import ConfigError
from razor_cli.main import build_app


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def said(line: str) -> str:
    result = CliRunner().invoke(build_app("list"), ["list", *line.split()])
    if isinstance(result.exception, ConfigError):
        raise result.exception
    assert result.exit_code == 0, result.exception
    return result.output


def test_names_stand_whole_and_alone_in_their_column() -> None:
    for kind in ("methods", "models", "experiments"):
        lines = said(kind).splitlines()
        assert max(map(len, lines)) <= 80
        assert all(line == "" or line[0] != "…" for line in lines)
    names = {line.split()[0] for line in said("methods").splitlines() if line[:1].strip()}
    assert {"razor", "slug/clip_criterion", "ca/canvas_object"} <= names


def test_everything_is_a_line_for_each_group() -> None:
    text = said("")
    assert len(text.splitlines()) < 24 and "razor list methods" in text and "razor list runs" in text


def test_methods_of_a_model_are_those_that_a_run_does_not_refuse() -> None:
    drawn, clip = (
        {line.split()[0] for line in said(f"methods --model {model}").splitlines() if line[:1].strip()}
        for model in ("sd_tiny", "clip_tiny")
    )
    assert {"uce", "razor", "salun"} <= drawn and "ssd" not in drawn
    assert {"ssd", "razor", "salun"} <= clip and "uce" not in clip
    assert families_served("slug/anchor", [conf_dir()]) == ["diffusion"]
    assert families_served("none", [conf_dir()]) == ["clip", "diffusion", "llava"]


def test_a_wrong_kind_is_met_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean razor list methods"):
        said("method")


def test_what_is_zero_is_a_setting_like_others() -> None:
    assert (
        settings({"_target_": "a.B", "keep": 0.0, "heads": 2, "off": False, "none": []}) == "keep=0.0 heads=2"
    )


def test_files_that_build_on_others_are_told_apart() -> None:
    text = whole(Kind.METHODS, "razor", [conf_dir()])
    first, second = (text.index(f"# method/razor/{name}.yaml\n") for name in ("paper", "clip"))
    assert first < second and "razor-run --cfg job method=razor" in text


def test_runs_of_a_sweep_are_told_apart(tmp_path: Path) -> None:
    for rho in (0.2, 0.4):
        fake_run(tmp_path, flips={"rho": rho, "tau": 3}, finished="2026-01-02T12:30:05+00:00")
    for share in (0.7, 0.9):
        fake_run(tmp_path, method="push", flips={"share": share})
    text = " ".join(said(f"runs --output-dir {tmp_path}").split())
    wanted = ("method.rho=0.2", "method.rho=0.4", "method.share=0.7", "method.share=0.9", "2026-01-02 12:30")
    assert all(part in text for part in wanted), text
