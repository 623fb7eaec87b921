"""Kinds of data: their defaults are their files', their sets are those of before, and none needs torch."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
from pictures import write_folder

from razor_cli.bench import sets_of
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.conf_files import settings_of
from razor_cli.config.schema import build, locate
from razor_cli.config.settings import PLACES
from razor_cli.data.ask import Ask, DataSettings
from razor_cli.data.kinds.labelled import Labelled
from razor_cli.data.kinds.own import Folder
from razor_cli.data.kinds.standin import StandIn
from razor_cli.errors import ConfigError, Problem

KINDS = ("standin", "cifar10", "folder", "webdataset", "laion", "imagenet", "labelled")
FINGERPRINTS = {  # of the sets that data settings of one class for all kinds made
    ("scenario=identity",): "7be5e2e4329b750c",
    ("scenario=object", "data.aliases=[bear]", "seed=3"): "25b773adbcdc780c",
    ("scenario=identity", "judged_on=validation"): "5b2c2876e1ec8a69",
    ("scenario=fine_grained", "data.forget=[owl,rocket]"): "6e31a881ef17ec7e",
}


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "prepared"))


@pytest.mark.parametrize("option", KINDS)
def test_defaults_of_a_class_are_those_of_its_file(option: str) -> None:
    node, problems = settings_of("data", option), list[Problem]()
    cls = locate(node["_target_"], PLACES["data"], "data")
    assert build(cls, node, "data", problems) == cls() and problems == []


def test_presets_of_labelled_photographs_are_recorded_under_their_own_names() -> None:
    for option in ("labelled", "imgnetdogs", "compcars"):
        problems: list[Problem] = []
        made: DataSettings | None = build(Labelled, settings_of("data", option), "data", problems)
        assert made is not None and made.label("emoji") == option and made.kind == option
    assert StandIn().label("emoji") == "emoji" and Folder().label("portraits") == "folder"


@pytest.mark.parametrize(("words", "expected"), FINGERPRINTS.items())
def test_pictures_of_a_run_are_the_same_as_ever(words: tuple[str, ...], expected: str) -> None:
    prints = sets_of(checked(read(words))).fingerprints()
    del prints["words"]  # the pictures, and not what they are compared with
    assert hashlib.sha256(repr(sorted(prints.items())).encode()).hexdigest()[:16] == expected


def test_levels_of_difficulty_need_a_model() -> None:
    ask = Ask(target="difficult", domain="emoji", pictures="emoji", taxonomy=True, called="ten emoji")
    with pytest.raises(ConfigError, match=r"(?s)no model is loaded.*data\.forget"):
        StandIn().sets(ask)
    with pytest.raises(ConfigError, match=r"data\.root is needed by data=labelled"):
        Labelled().sets(ask)


def test_a_seed_of_the_data_holds_the_pictures_and_the_runs_draws_others(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"Ada": 16, "Bo": 60})

    def retained(run: int, own: int | None) -> tuple[str, ...]:
        data = Folder(root=root, seed=own, n_retain=12)
        return data.sets(Ask(target="Ada", seed=run)).retain.keys

    assert retained(0, 5) == retained(1, 5) == retained(5, None)
    assert set(retained(0, None)) != set(retained(1, None))


def test_kinds_are_read_without_torch_arrays_and_pictures() -> None:
    code = (
        "import sys, pathlib, importlib, razor_cli.data.kinds as kinds; "
        "[importlib.import_module(f'razor_cli.data.kinds.{p.stem}') "
        "for p in pathlib.Path(kinds.__file__).parent.glob('*.py')]; "
        "print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
