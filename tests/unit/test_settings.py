"""The check before the first weight is read, and the settings' part of the run id."""

import copy
import dataclasses
import re
import shutil
import subprocess
import sys
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import razor_cli
from razor_cli.config.check import check
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked, compose
from razor_cli.config.conf_files import GROUPS, conf_dir, targets
from razor_cli.config.schema import INVALID, class_id, convert, locate, plain
from razor_cli.config.settings import PLACES, Engine, Experiment, composed, resolved
from razor_cli.data.kinds.own import Folder
from razor_cli.errors import ConfigError
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.runs.provenance import canonical_json

KNOBS = [
    "method.rho=0.3",
    "seed=4",
    "data.n_forget=33",
    "target=Elon Musk",
    "engine=plain",
    "quantization=none",
    "data.aliases=[a,b]",
]


def experiment(*overrides: str) -> Experiment:
    return checked(read(overrides))


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        experiment(*overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def digest(made: Experiment) -> str:
    return canonical_json(resolved(made))


@pytest.fixture(scope="module")
def default() -> Experiment:
    return experiment()


@pytest.fixture(scope="module")
def in_order() -> str:
    return digest(experiment(*KNOBS))


def test_defaults_are_the_headline_run(default: Experiment) -> None:
    assert default.target == "Taylor Swift"
    assert (default.model.name, default.scenario.name, default.data.kind.value) == (
        "clip_tiny",
        "identity",
        "standin",
    )
    assert default.quantization.schemes == ["none", "int8", "int4"]
    assert default.output_dir == Path("outputs")
    assert default.scenario.acceptance["m4_drop"]["drop_at_most"] == 2


def test_target_follows_the_scenario() -> None:
    assert experiment("scenario=object").target == "owl"


def test_all_problems_are_in_one_message() -> None:
    text = refusal(
        "method.roh=0.2",
        "+method.invented=1",
        "method.alpha=7",
        "method.rho=0",
        "method.tau_mode=relativ",
        "data.n_forget=abc",
        "quantization.scope=linar",
        "seed=-1",
        "rho=3",
        "methd=slug",
        "scenario.acceptance.m5.at_leest=3",
        "force=maybe",
    )
    assert text.startswith("12 problems")
    keys = [
        "method.roh",
        "method.invented",
        "method.alpha",
        "method.rho",
        "method.tau_mode",
        "data.n_forget",
        "quantization.scope",
        "seed",
    ]
    for key in [*keys, "\n", "methd", "scenario.acceptance.m5.at_leest", "force"]:
        assert key in text
    assert "did you mean method.rho" in text  # for roh, and for rho without its group
    assert "relative, absolute, topk" in text and "did you mean method.tau_mode=relative" in text
    assert "a whole number" in text and "true or false" in text and "linear, vision, text" in text


MISTAKES = [  # of different settings each, so that one message tells of all
    [
        ("method.rho=abc", ["method.rho", "a number", "'abc'"]),
        ("method.search_steps=2.5", ["method.search_steps", "a whole number", "2.5"]),
        ("method.max_components=many", ["method.max_components", "a whole number or null"]),
        ("data.aliases=Tay", ["data.aliases", "a list [a, b] of text"]),
        ("data.n_retain=0", ["data.n_retain", ">= 1"]),
        (
            "method.normalize=null",
            ["method.normalize", "none, unit, match_retain", "null", "method.normalize=none"],
        ),
        ("model.device=gpu", ["model.device", "auto, cpu, cuda"]),
        ("engine=fsat", ["engine", "did you mean engine=fast"]),
        ("target=", ["target must not be empty"]),
        ("threads=0", ["threads", ">= 1 or null"]),
        ("seed", ["seed: not a setting", "seed=VALUE"]),
        ("scenario.acceptance.m5.at_most=3", ["scenario.acceptance.m5", "exactly one threshold"]),
        ("model.weights=/nowhere/x.pt", ["model.weights", "no such file", "model.weights=FILE_OR_TAG"]),
        ("model.stand_in=false", ["model.stand_in", "model.library"]),
    ],
    [
        ("method.rho=true", ["method.rho", "a number", "True"]),
        ("data.aliases=[a,'']", ["data.aliases", "empty"]),
        ("target=???", ["target must not be empty"]),
        ("seed=${nothing.here}", ["seed", "nothing"]),
    ],
    [
        ("method.rho=nan", ["method.rho", "a number"]),
    ],
    [
        ("data=folder", []),
        ("data.root=/nowhere/at/all", ["data.root: no such file or folder", "/nowhere/at/all"]),
        ("data.max_corrupt=1", ["data.max_corrupt", "[0, 1)"]),
    ],
    [
        (
            "data.root=.",
            ["data.root: there is no such setting", "in data: aliases, cifar_root", "data=folder, "],
        ),
        ("data.prompts=CompCars-S", ["fix: data=compcars, data=imgnetdogs, data=labelled have it"]),
        ("data.alises=[a]", ["did you mean data.aliases?"]),
    ],
    [("method.rho=[0.1]", ["method.rho", "a number"])],
    [("method=razr", ["method=razr", "slug/code", "did you mean method=razor"])],
    [("method=null", ["method=null", "allowed: ft, ft/paper, ga"])],
    [("model=clip_vitb23", ["model=clip_vitb23", "model=clip_vitb32"])],
    [("+method=slgu", ["method=slgu", "method=slug"])],
    [("method.rho=a{b", ["method.rho", "cannot be read"])],
    [("method.rho=0.1,0.2", ["method.rho=0.1,0.2", "add -m"])],
    [("~method", ["method is not chosen", "razor"])],
]


@pytest.mark.parametrize("mistakes", MISTAKES)
def test_each_kind_of_mistake_says_where_and_what_is_allowed(mistakes: list[tuple[str, list[str]]]) -> None:
    told = re.split(r"\n(?=\d+\. )", refusal(*(override for override, _ in mistakes)))
    for _, parts in mistakes:
        assert any(all(part in problem for part in parts) for problem in told), parts


def test_a_wrong_choice_and_wrong_keys_elsewhere_are_reported_together() -> None:
    text = refusal("method=razr", "method.roh=1", "data.n_forgot=5")
    assert "method=razr" in text and "data.n_forgot" in text
    assert "method.roh" not in text  # nothing can be said about the keys of a method that does not exist


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "razor_cli.errors.ConfigError",
        "razor_cli.methods.razor.TauMode",
        "razor_cli.methods.nothing.X",
        "razor_cli.methods.razor.math.prod",
        "razor_cli.data.kinds.own.Folder",
        "razor_cli.methods",
        "razor_cli.methods.razor:Razor",
        "5",
    ],
)
def test_no_code_but_a_frozen_dataclass_of_the_right_place_is_reachable(target: str) -> None:
    assert "method._target_" in refusal(f"method._target_={target}")


def test_user_modules_are_not_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigError, match="may not point there"):
        locate("evil.Method", "razor_cli.methods.", "method")
    assert "evil" not in sys.modules


def test_method_that_does_not_serve_the_family_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from razor_cli.methods.slug import Slug

    monkeypatch.setattr(Slug, "families", ("diffusion",))
    text = refusal("method=slug")
    assert "model.family=clip" in text and "allowed: diffusion" in text


def test_identity_on_a_real_model_names_every_way_out() -> None:
    text = refusal("model=clip_vitb32", "target=Taylor Swift")
    for way in (
        "data=folder data.root=DIR",
        "data.retain_root=DIR",
        "razor data prepare cifar10",
        "data=webdataset",
        "model.weights=FILE_OR_TAG",
        "model=clip_tiny data=standin",
    ):
        assert way in text


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["scenario=class"], "fix: data=cifar10"),
        (["data=cifar10"], "no person"),
        (["scenario=object", "data=folder", "data.root=."], "shows emoji"),
        (["scenario=class", "data=cifar10"], "razor data prepare cifar10"),
        (["data=folder"], "data.root is needed"),
        (["data=webdataset"], "data.root is needed"),
        (["data=folder", "data.root=/nowhere/at/all"], "no such file or folder"),
        (["data.aliases=[taylor SWIFT]"], "repeats the target"),
        (["model=open_clip", "data=folder", "data.root=."], "model.architecture is needed"),
        (["model=hf_clip", "data=folder", "data.root=."], "model.weights is needed"),
    ],
)
def test_impossible_pairings_are_refused(
    overrides: list[str], part: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path))  # nothing is prepared there
    assert part in refusal(*overrides)


def test_folder_without_anything_to_keep_is_refused_until_there_is_something(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAZOR_DATA_DIR", str(tmp_path / "prepared"))
    (tmp_path / "photos" / "Ada").mkdir(parents=True)
    ask = ["model=clip_vitb32", "data=folder", f"data.root={tmp_path / 'photos'}", "target=Ada"]
    assert "data.retain_root is needed" in refusal(*ask)
    (tmp_path / "prepared" / "cifar10").mkdir(parents=True)
    assert experiment(*ask).data.root == tmp_path / "photos"


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(order=st.permutations(KNOBS))
def test_order_of_overrides_does_not_change_the_digest(in_order: str, order: list[str]) -> None:
    assert digest(experiment(*order)) == in_order


def changed(value: Any) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, Enum):
        return next((m for m in type(value) if m is not value), value)
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, (str, Path)):
        return type(value)(f"{value}x")
    if isinstance(value, dict):
        return {} if value else {"x": "x"}
    return type(value)([*value, "x"]) if isinstance(value, (list, tuple)) else "x"


def with_changed(made: Experiment, path: tuple[str, ...]) -> Experiment:
    """Return a copy with one field changed, past all checks."""
    made = copy.deepcopy(made)
    owner = made if len(path) == 1 else getattr(made, path[0])
    object.__setattr__(owner, path[-1], changed(getattr(owner, path[-1])))
    return made


def test_any_changed_value_changes_the_digest_and_what_changes_no_number_does_not(
    default: Experiment,
) -> None:
    parts = [
        f.name for f in dataclasses.fields(default) if dataclasses.is_dataclass(getattr(default, f.name))
    ]
    paths = [(f.name,) for f in dataclasses.fields(default) if f.name not in parts]
    paths += [(part, f.name) for part in parts for f in dataclasses.fields(getattr(default, part))]
    assert len(paths) > 80
    same = {".".join(p) for p in paths if digest(with_changed(default, p)) == digest(default)}
    assert same == {
        "output_dir",
        "force",
        "exit_on_reject",
        "debug",
        "threads",
        "fail_fast",
        "grid",
        "dry_run",
        "jobs",
        "overrides",
    }


def test_methods_with_equal_fields_have_different_digests(default: Experiment) -> None:
    other = dataclasses.replace(default, quantization=experiment("quantization=none").quantization)
    assert digest(other) != digest(default)
    assert resolved(default)["method"]["_target_"] == "Razor"


@dataclasses.dataclass(frozen=True)
class Outsider:
    value: int = 1


def test_a_class_is_named_without_its_module_and_one_from_outside_with_its_package() -> None:
    assert class_id(Folder) == "Data" and class_id(Outsider) == "test_settings.Outsider"
    assert plain([Outsider()]) == [{"_target_": "test_settings.Outsider", "value": 1}]


@pytest.mark.parametrize("group", GROUPS)
def test_no_two_classes_of_a_group_have_one_name(group: str) -> None:
    """Their runs could not be told apart."""
    classes = {locate(target, PLACES[group], group) for target in targets([conf_dir()], group)}
    assert classes and len({class_id(cls) for cls in classes}) == len(classes)


def test_what_was_set_stands_beside_the_settings(tmp_path: Path) -> None:
    made = experiment("method=slug", "method.towers=vision", "data.n_forget=20", f"output_dir={tmp_path}")
    assert made.overrides == {"method": "slug", "method.towers": "vision", "data.n_forget": 20}


def test_composed_is_plain_and_reads_back_as_the_same_experiment(default: Experiment) -> None:
    again = check({**composed(default), "output_dir": "outputs"})
    assert again == default


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (1, float, 1.0),
        (True, float, INVALID),
        (True, int, INVALID),
        (1.0, int, INVALID),
        ("a", float | str, "a"),
        (2, float | str, 2.0),
        (None, int | None, None),
        ("fast", Engine, Engine.FAST),
        ("FAST", Engine, INVALID),
        (["a"], list[str], ["a"]),
        ([1], list[str], INVALID),
        ("~", Path, Path.home()),
        ("", Path, INVALID),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        (3, str, INVALID),
        (float("nan"), float, INVALID),
    ],
)
def test_conversion(value: object, kind: Any, expected: object) -> None:
    problems: list[Any] = []
    converted = convert(value, kind, "key", problems)
    assert converted is expected or (converted == expected and type(converted) is type(expected))
    assert bool(problems) == (expected is INVALID)


def test_variant_completes_the_architecture() -> None:
    made = ClipSpec(stand_in=False, library=Library.OPEN_CLIP, architecture="ViT-B-32", variant="quickgelu")
    assert made.full_architecture == "ViT-B-32-quickgelu"


def test_data_refuses_a_range_with_its_key() -> None:
    with pytest.raises(ConfigError, match=r"data\.min_forget"):
        Folder(min_forget=2)


def test_users_folder_adds_options(tmp_path: Path) -> None:
    (tmp_path / "method").mkdir()
    (tmp_path / "method" / "mine.yaml").write_text("defaults: [razor, _self_]\nrho: 0.125\n")
    assert compose(read(["method=mine"], extra=str(tmp_path))).method.rho == 0.125
    assert "mine" in refusal("method=mine")


LIGHT = ("main", "launch", "config.settings", "config.command_line", "config.compose", "grid.blocks")
LIGHT += ("grid.points", "grid.plan", "grid.cost", "grid.jobs", "runs.folder", "runs.records", "runs.code")
LIGHT += ("runs.remembered", "runs.provenance", "report.terminal")
HEAVY = ("torch", "numpy", "pandas", "scipy", "PIL", "matplotlib", "pyarrow", "duckdb", "open_clip")


def test_asking_finding_and_reporting_import_nothing_heavy() -> None:
    code = f"import sys, {', '.join(f'razor_cli.{m}' for m in LIGHT)}; print(set({HEAVY}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_conf_is_found_in_the_source_tree_and_inside_an_installed_package(tmp_path: Path) -> None:
    assert (conf_dir() / "config.yaml").is_file()
    package = Path(razor_cli.__file__).parent
    shutil.copytree(
        package, tmp_path / "razor_cli", ignore=shutil.ignore_patterns("standins", "conf", "__pycache__")
    )
    shutil.copytree(conf_dir(), tmp_path / "razor_cli" / "conf")
    (tmp_path / "elsewhere").mkdir()
    code = "from razor_cli.config.settings import conf_dir; print(conf_dir())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert Path(done.stdout.strip()) == tmp_path / "razor_cli" / "conf"
