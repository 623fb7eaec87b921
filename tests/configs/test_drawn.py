"""Scenarios and data of models that draw, as the yaml files have them, and what goes together with what."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
from omegaconf import OmegaConf

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked, compose
from razor_cli.config.conf_files import settings_of
from razor_cli.config.data_keys import kinds_that_draw, kinds_with
from razor_cli.config.pairings import data_fits
from razor_cli.config.schema import build, hints, locate
from razor_cli.config.settings import PLACES, Options, Scenario
from razor_cli.contract.family import BOARD, DENOISER, DUAL
from razor_cli.data.ask import Ask, DataSettings
from razor_cli.data.canvas_sets import labels
from razor_cli.data.choices import DataKind
from razor_cli.data.kinds.canvas_standin import CanvasStandIn
from razor_cli.data.kinds.cifar10 import Cifar10
from razor_cli.data.kinds.generated import Generated
from razor_cli.data.wording import KINDS
from razor_cli.errors import ConfigError, Problem

DRAWN = {"standin", "folder", "unlearncanvas", "generated"}


def data_of(option: str) -> DataSettings:
    node, problems = settings_of("data", option, "diffusion"), list[Problem]()
    cls = locate(node["_target_"], PLACES["data"], "data")
    built: Any = build(cls, node, "data", problems)
    assert problems == [] and set(node) - {"_target_"} == set(hints(cls))
    return cast(DataSettings, built)


@pytest.mark.parametrize("option", sorted(DRAWN))
def test_defaults_of_a_class_are_those_of_its_file(option: str) -> None:
    data = data_of(option)
    assert data == type(data)() and data.kind == option
    assert set(data.at_most) >= {"forget", "retain", "validation_forget", "evaluation_retain", "suite"}


@pytest.mark.parametrize("axis", KINDS)
def test_a_scenario_names_its_kind_of_target_and_one_that_the_stand_in_knows(axis: str) -> None:
    found = settings_of("scenario", axis, "diffusion")
    acceptance = found.pop("acceptance")
    found.pop("_target_")
    scenario = Scenario(**found)
    assert scenario.axis == scenario.name == axis
    assert scenario.default_target in labels()[axis]
    for name in ("ua", "ua_valid"):
        bound = {"metric": name, "variant": "benchmark", "at_least": 85, "base_at_most": 20}
        assert acceptance[name] == bound
    assert [acceptance[k]["drop_at_most"] for k in ("ira_drop", "cra_drop")] == [5, 5]


def test_scenarios_of_models_that_compare_have_no_kind_of_target() -> None:
    for name in ("identity", "object", "class", "fine_grained", "fine_grained_portraits"):
        assert settings_of("scenario", name, "clip")["axis"] == ""
    with pytest.raises(ConfigError, match=r"scenario\.axis is unknown"):
        Scenario(axis="mood")


@pytest.mark.parametrize("name", ["style", "character"])
def test_a_family_without_a_scenario_is_told_which_have_it(name: str) -> None:
    with pytest.raises(ConfigError, match=f"scenario={name} has nothing for the family clip") as refused:
        checked(read([f"scenario={name}"]))
    assert "diffusion" in refused.value.message()


def model(offers: frozenset[str], family: str, stand_in: bool = True) -> Any:
    return SimpleNamespace(name="m", family=family, stand_in=stand_in, offers=offers)


PAINTER, READER = model(frozenset({BOARD, DENOISER}), "diffusion"), model(frozenset({BOARD, DUAL}), "clip")


def fits(data: Any, on: Any, **scenario: Any) -> list[Problem]:
    return data_fits(data, Scenario(**scenario), on, Options(target=scenario.pop("default_target", "Noto")))


def test_data_of_the_other_sort_of_model_is_refused_with_what_serves() -> None:
    (problem,) = fits(Cifar10(), PAINTER, axis="style", name="style")
    assert "data=cifar10 does not serve model=m, which draws pictures" in problem.what
    assert {k.strip().removeprefix("data=") for k in str(problem.allowed).split(",")} == DRAWN
    (problem,) = fits(Generated(), READER, name="identity")
    assert "compares pictures with texts" in problem.what and "data=cifar10" in str(problem.allowed)
    assert fits(CanvasStandIn(), PAINTER, axis="style", name="style") == []


def test_kinds_are_known_by_family() -> None:
    assert set(kinds_that_draw("diffusion", drawn=True)) == DRAWN
    assert "standin" in kinds_that_draw("clip", drawn=False) and "folder" in kinds_that_draw(
        "clip", drawn=False
    )
    assert kinds_with("partners", PLACES["data"], "diffusion") == ["folder", "generated"]
    assert kinds_with("partners", PLACES["data"]) == ["generated"]


def test_labels_in_tables() -> None:
    assert CanvasStandIn().label("canvas") == "canvas" and Generated().label("canvas") == DataKind.GENERATED
    assert Ask(target="x").axis == ""


@pytest.mark.parametrize("model", ["model=sd3_medium model.companion", "model=clip_tiny model.oracle"])
def test_a_setting_that_takes_a_text_or_a_map_takes_both_from_a_command_line(model: str) -> None:
    option, key = model.split()
    for typed, meant in (("DIR/a b", "DIR/a b"), ("{x: DIR/a, y_2: DIR-b}", {"x": "DIR/a", "y_2": "DIR-b"})):
        node: Any = OmegaConf.to_container(compose(read([option, f"{key}={typed}"])).model)
        assert node[key.partition(".")[2]] == meant
