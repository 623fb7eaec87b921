"""The model's family picks the files that differ by family; nobody else chooses it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from razor_cli.config.check import check
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked, compose
from razor_cli.errors import ConfigError
from razor_cli.main import run_command

OVERRIDE = "defaults:\n  - override /family@_global_.family: toy\n\n"
TOY = {  # a family in a user's folder: one yaml declares it, the others answer for it
    "family/toy": "# @package _global_\nfamily: toy\n",
    "model/toy_x": f"{OVERRIDE}_target_: razor_cli.families.clip.spec.ClipSpec\nname: toy_x\nfamily: toy\n",
    "model/toy_y": "defaults:\n  - toy_x\n  - _self_\n\nname: toy_y\n",
    "method/razor/toy": "defaults:\n  - /method/razor/paper@_here_\n  - _self_\n\nname: razor\nrho: 0.125\n",
    "scenario/identity/toy": "suites: []\nacceptance:\n  gone: {metric: recognised, at_most: 5}\n",
    "data/standin/toy": "_target_: razor_cli.data.kinds.standin.StandIn\nn_forget: 7\n",
    "metrics/default/toy": "_target_: razor_cli.families.clip.settings.Metrics\nbootstrap_draws: 321\n",
    "experiment/toys": "# @package _global_\ndefaults:\n  - override /model: toy_x\n\nseed: 4\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """Return a folder for --config-dir with a second family."""
    for name, text in TOY.items():
        file = tmp_path / "own" / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(tmp_path / "own")


def composed(folder: str | None, *words: str) -> Any:
    return compose(read(words, extra=folder))


def picked(cfg: Any) -> tuple[object, ...]:
    """Return the family, and one setting of each file that differs by family."""
    acceptance = list(cfg.scenario.acceptance)
    return cfg.family, cfg.method.rho, acceptance[0], cfg.data.n_forget, cfg.metrics.bootstrap_draws


CLIP = ("clip", 0.5, "m1_mean", 60, 2000)
TOYS = ("toy", 0.125, "gone", 7, 321)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ((), CLIP),
        (("model=toy_x",), TOYS),
        (("method=razor", "model=toy_x", "scenario=identity", "data=standin", "metrics=default"), TOYS),
        (("model=toy_y",), TOYS),
        (("experiment=toys",), TOYS),
        (("experiment=toys", "model=clip_vitb32"), CLIP),
        (("experiment=tiny", "data.n_forget=60"), CLIP),
        (("model=toy_x", "method.rho=0.25", "data.n_forget=9"), ("toy", 0.25, "gone", 9, 321)),
        (("model=toy_x", "method=razor/paper"), ("toy", 0.5, "gone", 7, 321)),
        (("model=toy_x", "method=razor/clip"), ("toy", 0.5, "gone", 7, 321)),
    ],
)
def test_the_models_family_picks_the_files(folder: str, words: Sequence[str], expected: object) -> None:
    assert picked(composed(folder, *words)) == expected


def test_what_is_shared_of_a_scenario_stays_and_a_family_may_set_it_anew(folder: str) -> None:
    clip, toy = composed(folder).scenario, composed(folder, "model=toy_x").scenario
    assert (toy.name, toy.domain) == (clip.name, clip.domain) == ("identity", "person")
    assert (list(clip.suites), list(toy.suites)) == (["cifar10", "emoji"], [])


def test_a_sweep_goes_over_models_of_two_families(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("razor_cli.sweep.check", lambda cfg, **_: seen.append(picked(cfg)) or check({}))
    words = ["-m", "--config-dir", folder, "model=clip_tiny,toy_x", "method=razor"]
    assert run_command(words) == 2  # the check above refuses each point after it was seen
    assert seen == [CLIP, TOYS]


@pytest.mark.parametrize("word", ["family=toy", "+family=toy", "++family=toy", "family.name=toy"])
def test_the_family_is_not_chosen_on_the_command_line(word: str, folder: str) -> None:
    with pytest.raises(ConfigError, match="family is not chosen by itself") as refused:
        checked(read([word], extra=folder))
    assert "model=NAME" in refused.value.message()


def test_a_family_that_is_not_the_models_is_refused(folder: str) -> None:
    Path(folder, "experiment", "astray.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /family: toy\n"
    )
    with pytest.raises(ConfigError, match="composed for the family toy"):
        checked(read(["experiment=astray"], extra=folder))


@pytest.mark.parametrize(
    ("word", "what"), [("method=slug", "method=slug"), ("scenario=class", "scenario=class")]
)
def test_a_family_without_a_file_is_told_so(word: str, what: str, folder: str) -> None:
    with pytest.raises(ConfigError, match=f"{what} has nothing for the family toy") as refused:
        composed(folder, "model=toy_x", word)
    assert "family clip" in refused.value.message()


def test_a_familys_file_that_is_no_whole_option_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="scenario=class/clip: there is no such scenario"):
        checked(read(["scenario=class/clip"]))


def test_typos_are_answered_with_near_names() -> None:
    for typo, near in (("method=raz", "method=razor"), ("method=razor/papr", "method=razor/paper")):
        with pytest.raises(ConfigError) as refused:
            checked(read([typo]))
        assert near in str(refused.value.fix)
