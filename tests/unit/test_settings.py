"""The check before the first weight is read."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import razor_cli
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked, compose
from razor_cli.config.conf_files import conf_dir
from razor_cli.config.schema import locate
from razor_cli.config.settings import Experiment
from razor_cli.data.kinds.own import Folder
from razor_cli.errors import ConfigError
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec


def experiment(*overrides: str) -> Experiment:
    return checked(read(overrides))


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        experiment(*overrides)
    assert caught.value.exit_code == 2
    return str(caught.value)


def test_defaults_are_the_headline_run() -> None:
    default = experiment()
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
    [
        (
            "method=razr",
            ["method=razr", "slug, spm", "(razor list methods)", "did you mean method=razor"],
        )
    ],
    [("method=null", ["method=null", "ft, ga, ga_kl"])],
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

    monkeypatch.setattr(Slug, "needs", frozenset({"board", "denoiser"}))
    text = refusal("method=slug")
    assert "method=slug does not serve model=clip_tiny: the family clip offers no denoiser" in text
    assert "allowed: methods that need no more than board, classes, dual" in text


def test_goals_and_losses_that_the_family_does_not_know_are_refused() -> None:
    assert "method.target.m11" in refusal("+method.target.m11=3")
    assert "method.floor.m6" in refusal("+method.floor.m6=3")
    assert "did you mean method.forget_loss=cosine" in refusal("method.forget_loss=cosin")


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
    (tmp_path / "phots").mkdir()
    empty = refusal(*ask[:2], f"data.root={tmp_path / 'phots'}", "target=Ada")
    assert "is empty" in empty and "retain_root" not in empty
    assert "did you mean" in refusal(*ask[:2], f"data.root={tmp_path / 'photo'}", "target=Ada")
    assert "did you mean" not in refusal(*ask[:2], f"data.root={tmp_path / 'holiday'}", "target=Ada")
    (tmp_path / "prepared" / "cifar10").mkdir(parents=True)
    assert experiment(*ask).data.root == tmp_path / "photos"


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
    code = "from razor_cli.config.conf_files import conf_dir; print(conf_dir())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "elsewhere",
        env={"PYTHONPATH": str(tmp_path), "PATH": ""},
    )
    assert Path(done.stdout.strip()) == tmp_path / "razor_cli" / "conf"
