"""Where results go is tried before anything is computed for them, and the trial leaves nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import toy_net
from fake_runs import fake_run
from toy_family import ToySpec

from razor_cli.errors import ConfigError
from razor_cli.main import razor_command, run_command
from razor_cli.runs.folder import open_run
from razor_cli.writable import require_writable

CONF = Path(__file__).parents[1] / "toy_conf"
TOY = ["--config-dir", str(CONF), "allow_code=[toy_family,toy_data,toy_methods]", "model=toy"]
WORDS = [*TOY, "scenario=identity", "target=owl", "method=none", "quantization=none"]
PLACES = {
    "a file": lambda here: (here / "file").write_text("x") and here / "file",
    "below a file": lambda here: (here / "file").write_text("x") and here / "file/deep/er",
    "no place": lambda _: Path("/dev/null"),
    "a link to nowhere": lambda here: (here / "link").symlink_to(here / "gone") or here / "link",
    "read-only": lambda here: (here / "sealed").mkdir() or here / "sealed/outputs",
    "read-only itself": lambda here: (here / "sealed").mkdir() or here / "sealed",
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Go to a folder with the toy's weights, where `sealed` cannot be written; weights are not read."""
    home = tmp_path / "home"
    home.mkdir()
    toy_net.teach(home / "toy.safetensors")
    monkeypatch.chdir(home)
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))

    def refused(dir: Path) -> bool:
        return "sealed" not in Path(dir).parts and Path(dir).is_dir()

    monkeypatch.setattr("razor_cli.writable.writable", refused)  # root may write everywhere
    for name in ("open", "weights_hash"):
        monkeypatch.setattr(ToySpec, name, lambda *_: pytest.fail("weights were read"))
    yield home


def listed(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, home: Path) -> Path:
    """Give a place where nothing can be written."""
    found: Path = PLACES[request.param](home)
    return found


@pytest.mark.parametrize(
    "words", [[], ["-m", "seed=0,1"], ["experiment=mine"]], ids=["a run", "a sweep", "a grid"]
)
def test_run_sweep_and_grid_end_before_weights_are_read(
    place: Path, words: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if words[:1] == ["experiment=mine"]:
        shutil.copytree(CONF, home / "conf")
        (home / "conf/experiment").mkdir()
        (home / "conf/experiment/mine.yaml").write_text("# @package _global_\ngrid:\n  - {seed: [0, 1]}\n")
        words = [*words, *WORDS[2:], "--config-dir", "conf"]
    else:
        words = [*WORDS, *words]
    before = listed(home)
    assert run_command([*words, f"output_dir={place}"]) == 2
    out, err = capsys.readouterr()
    assert "output_dir: " in err and "fix: output_dir=DIR, a folder of yours" in err
    assert "Traceback" not in err and listed(home) == before and "job 1" not in out


@pytest.mark.parametrize(
    "words",
    [
        ["tables", "table3", "--out", "X"],
        ["tables", "all", "--out", "X"],
        ["tables", "scores", "--out", "X/scores.csv"],
        ["propositions", "--recorded", "--output-dir", "X"],
        ["propositions", "target=owl", "--output-dir", "X"],
        ["doctor", "--acceptance", "clip_tiny", "output_dir=X"],
        ["patch", "apply", "p.safetensors", "--base", "toy.safetensors", "--out", "X/new.safetensors"],
        ["patch", "revert", "toy.safetensors", "--undo", "p.safetensors", "--out", "X/new.safetensors"],
        ["data", "prepare", "cifar10", "--to", "X/cifar"],
        ["data", "build", "levels", "--out", "X/levels.csv"],
        ["data", "build", "compcars", "--root", ".", "--out", "X/t.csv"],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_every_command_that_writes_says_so_first(
    words: list[str], home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "file").write_text("x")
    monkeypatch.setattr("razor_cli.weights.patch._read_kind", lambda *_: (None, {}))
    before = listed(home)
    assert razor_command([word.replace("X", "file/sub") for word in words]) == 2
    err = capsys.readouterr().err
    assert "cannot write in '" in err and "DIR, a folder of yours" in err and "Traceback" not in err
    assert listed(home) == before


def test_recorded_run_is_read_from_a_place_that_cannot_be_written(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fake_run(home / "outputs")
    (home / "outputs").rename(home / "sealed")
    where = (home / "sealed", "identity", "razor")
    with open_run(*where, run.run_id) as found:
        assert found.complete
    with pytest.raises(ConfigError, match="cannot write in"), open_run(*where, "0" * 16):
        pytest.fail("a folder was opened")


def test_trial_leaves_nothing(tmp_path: Path) -> None:
    require_writable(tmp_path / "a/b/c", "output_dir")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError) as error:
        require_writable(tmp_path / "file", "--out")
    assert error.value.fix == "--out DIR, a folder of yours"
