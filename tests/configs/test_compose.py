"""Every yaml of every group composes, passes the check, explains itself, and starts with a command that
works.
"""

import shlex
from pathlib import Path

import pytest
from loading_cases import hf_folder
from tiny_llava import tiny_companion, tiny_llava
from tiny_sd import tiny_sd15

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.config.conf_files import (
    FAMILY,
    GROUPS,
    answers,
    comments,
    conf_dir,
    default_option,
    description,
    families,
    file_of,
    groups,
    settings_of,
)
from razor_cli.config.schema import hints, locate
from razor_cli.config.settings import PLACES, Experiment, Options

FILES = [(group, name) for group, names in groups([conf_dir()]).items() for name in names]
EXPECTED = {
    "model": {
        "clip_tiny",
        "clip_vitb32",
        "clip_vitl14",
        "open_clip",
        "hf_clip",
        "llava_tiny",
        "llava15_7b",
        "llava16_vicuna_7b",
        "llava16_mistral_7b",
        "llava_next_llama3_8b",
    },
    "scenario": {
        "identity",
        "class",
        "object",
        "style",
        "cell",
        "character",
        "fine_grained",
        "fine_grained_portraits",
    },
    "data": {
        "standin",
        "folder",
        "webdataset",
        "cifar10",
        "imagenet",
        "laion",
        "labelled",
        "imgnetdogs",
        "compcars",
        "unlearncanvas",
        "generated",
    },
    "method": {"razor", "razor/paper", "razor/alg1", "razor/anchor", "slug", "slug/code", "none", "random"},
    "quantization": {"none", "int8", "int4", "bnb_int8", "nf4", "fp4", "all", "bitsandbytes"},
    "metrics": {"default"},
}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder with two concepts, which also passes for a data set and a model folder."""
    for concept in ("Taylor Swift", "Someone Else"):
        (tmp_path / "photos" / concept).mkdir(parents=True)
    return tmp_path / "photos"


def test_every_promised_option_is_there() -> None:
    found = groups([conf_dir()])
    assert {g: names - set(found.get(g, [])) for g, names in EXPECTED.items()} == {g: set() for g in EXPECTED}
    assert {f.parent.name for f in conf_dir().glob("*/*.yaml")} <= {*GROUPS, FAMILY, "experiment"}


@pytest.fixture(scope="module")
def described(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model in it."""
    return hf_folder(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that draws."""
    return tiny_sd15(tmp_path_factory.mktemp("pipeline") / "sd")


@pytest.fixture(scope="module")
def answering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model that answers, and its CLIP beside it."""
    folder = tiny_llava(tmp_path_factory.mktemp("answering") / "llava")
    tiny_companion(folder, folder.with_name("llava_clip"))
    return folder


@pytest.mark.parametrize(("group", "name"), FILES)
def test_option_starts_with_a_command_that_composes_and_passes_the_check(
    group: str,
    name: str,
    photos: Path,
    described: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    (tmp_path / "prepared" / "cifar10").mkdir(parents=True)
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "prepared"))
    heads = [
        line for line in file_of(group, name).read_text().splitlines()[:2] if line.startswith("# razor-run ")
    ]
    assert len(heads) == 1
    words = shlex.split(heads[0].removeprefix("# "))[1:]
    weights = described
    for begins, folder in (("model=sd", "pipeline"), ("model=llava", "answering")):
        if "model.weights=DIR" in words and any(w.startswith(begins) for w in words):
            weights = request.getfixturevalue(folder)
    words = [w.replace("model.weights=DIR", f"model.weights={weights}") for w in words]
    words = [w.replace("model.companion=DIR", f"model.companion={weights}_clip") for w in words]
    filled = [w.replace("=DIR", f"={photos}").replace("FILE_OR_TAG", "laion400m_e32") for w in words]
    assert isinstance(checked(read(filled)), Experiment)
    assert f"{group}={name}" in words or (
        default_option(group) == name and any(w.startswith(f"{group}.") for w in words)
    )


def serving(group: str, name: str) -> str | None:
    """Return the family whose files answer an option that the default family has none for."""
    own = sorted(
        {f.stem for f in file_of(group, name).with_suffix("").glob("*.yaml")} & families([conf_dir()])
    )
    return None if default_option(FAMILY) in own or not own else own[0]


@pytest.mark.parametrize(("group", "name"), [f for f in FILES if f[0] in GROUPS])
def test_option_sets_every_field_of_its_class_and_no_other(group: str, name: str) -> None:
    content = settings_of(group, name, serving(group, name))
    assert set(content) - {"_target_"} == set(hints(locate(content["_target_"], PLACES[group], group)))


@pytest.mark.parametrize(
    ("group", "name"), [f for f in FILES if f[0] in {"model", "scenario", "data", "method"}]
)
def test_every_setting_says_what_it_does(group: str, name: str) -> None:
    file = file_of(group, name)
    unexplained = [
        key
        for part in (file, *answers(file, serving(group, name)))
        for key, _, comment in comments(part)
        if not comment and key not in {"_target_", "stand_in"}
    ]
    assert unexplained == []
    assert description(file)


def test_root_sets_every_option_and_explains_it() -> None:
    rows = comments(conf_dir() / "config.yaml")
    assert {key for key, _, comment in rows if comment} == set(hints(Options))


def test_yaml_holds_values_only() -> None:
    for file in conf_dir().glob("*/**/*.yaml"):
        assert "${" not in file.read_text().replace("@_here_: ${family}", ""), file


def test_literal_preset_is_the_paper_and_the_others_say_how_they_differ() -> None:
    names = ("razor/paper", "razor/bounded", "razor/alg1", "razor/anchor", "razor")
    paper, bounded, first, anchor, ours = (checked(read([f"method={m}"])).method for m in names)
    assert (paper.norm_power, paper.mismatch_form, paper.mismatch_set, paper.normalize) == (
        1,
        "signed",
        "forget",
        "none",
    )
    assert (paper.granularity, paper.budget, paper.search_return, paper.tau_mode) == (
        "head_mlp",
        "greedy",
        "best_score",
        "relative",
    )
    assert (paper.max_components, paper.mismatch_at, paper.must_improve) == (None, "current", False)
    assert (paper.early_stop, paper.retain_batch) == (False, None)
    assert (bounded.max_components, bounded.mismatch_at, bounded.must_improve) == (8, "stage", True)
    assert (bounded.early_stop, bounded.retain_batch) == (True, 128)
    assert (first.norm_power, first.tau_mode) == (2, "absolute")
    assert (anchor.mismatch_form, anchor.mismatch_set, anchor.normalize) == ("squared", "retain", "unit")
    assert ours != paper
    fast, code = (checked(read([f"method={m}"])).method for m in ("slug", "slug/code"))
    assert fast.fast and not code.fast
    assert (code.align, code.candidates, code.search_steps, code.init_rel, code.criterion) == (
        "abs",
        "code",
        10,
        0.1,
        "fa_top5",
    )
