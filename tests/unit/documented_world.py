"""A folder in which the commands of the pages can be given: recorded runs, weights, patches, photographs."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from benchmark_files import write_celeba, write_compcars, write_imagenet, write_tar_shard
from documented import ROOT
from drawn_places import write_canvas
from fake_runs import fake_run
from frozen import patch_file, write_base
from ldm_names import one_file
from loading_cases import hf_folder, open_clip_folder
from pictures import captioned, picture_bytes, write_cifar_parquet, write_folder, write_shard
from tiny_llava import tiny_companion, tiny_llava
from tiny_sd import paired_clip, tiny_sd15

from razor_cli.config.conf_files import settings_of
from razor_cli.data.answers import answer_name
from razor_cli.main import razor_command, run_command
from razor_cli.runs import voucher
from razor_cli.runs.folder import DONE, Run, write_atomic
from razor_cli.weights.checkpoint import read_state
from razor_cli.weights.patch import write_patch

PEOPLE = {"Taylor Swift": 16, "Elon Musk": 16, "Tom Cruise": 12, "Kanye West": 12, "Ada Quill": 12}
TEXT = "text_encoder.encoder.layers.0.mlp.fc1.weight"
TOWER = "model.vision_tower.encoder.layers.0.mlp.fc1.weight"


@dataclass(frozen=True)
class World:
    """The folder, what lies in it by the words of the pages, and how a command ends in it."""

    home: Path
    run: Run

    def razor(self, *words: str) -> tuple[int, str]:
        """Return the exit code of `razor` and what it printed."""
        return said(razor_command, *words)

    def razor_run(self, *words: str) -> tuple[int, str]:
        """Return the exit code of `razor-run` and what it printed."""
        return said(run_command, *words)


def said(command: object, *words: str) -> tuple[int, str]:
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = command([*words])  # type: ignore[operator]
    return code, out.getvalue()


def _patch(base: Path, name: str, path: Path) -> None:
    state = read_state(base)
    write_patch(path, {name: state[name] + 1}, state, method="razor", target="Van Gogh")


def _models(home: Path) -> None:
    write_base(home / "model.safetensors")
    (home / "WEIGHTS").mkdir()
    shutil.copy(home / "model.safetensors", home / "WEIGHTS")
    shutil.copy(patch_file("0.1", "patch"), home / "patch.safetensors")
    sd = tiny_sd15(home / "stable-diffusion-v1-5")
    paired_clip(sd, home / "stable-diffusion-v1-5_clip")
    one_file(sd, home / "v1-5-pruned-emaonly.safetensors")
    llava = tiny_llava(home / "llava-1.5-7b-hf")
    tiny_companion(llava, home / "clip-vit-large-patch14-336")
    _patch(sd, TEXT, home / "patch_sd.safetensors")
    _patch(llava, TOWER, home / "patch_llava.safetensors")
    hf_folder(home / "FOLDER")
    open_clip_folder(home / "open_clip_folder")


def _recorded(home: Path) -> Run:
    """Record a run with invented scores, the bounds of its scenario, and a patch of the weights that are
    here.
    """
    bounds = settings_of("scenario", "identity", "clip")["acceptance"]
    scenario = {"name": "identity", "acceptance": bounds}
    run = fake_run(home / "outputs", more={"scenario": scenario})
    shutil.copy(home / "patch.safetensors", run.folder / "patch.safetensors")
    write_atomic(run.folder / DONE, voucher.voucher(run.folder, run.run_id))
    return run


def _data(home: Path) -> None:
    write_folder(home / "folder", PEOPLE)
    write_folder(home / "others", {"Ben Quist": 16, "Cleo Park": 16}, start=1000)
    write_celeba(home / "celeba", PEOPLE)
    write_imagenet(home / "imagenet")
    captions = [f"a photo of {name}" for name in PEOPLE for _ in range(30)]
    write_tar_shard(home / "laion", "00000", captions)
    write_shard(home / "webdataset/00000.tar", captioned(captions, start=2000))
    write_canvas(home / "unlearncanvas", each=2)
    write_compcars(home / "compcars")
    (home / "answers").mkdir()
    (home / f"answers/{answer_name('Van_Gogh', 'Cats', 188)}.jpg").write_bytes(picture_bytes(1, "JPEG"))
    write_cifar_parquet(home / "prepared/cifar10")
    for name in ("judges", "docs/results"):
        (home / name).mkdir(parents=True)
    for name in ("style.pth", "dogs.csv", "cars.csv"):
        (home / name).touch()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Give the folder as the current one."""
    home = tmp_path_factory.mktemp("documented")
    _models(home)
    _data(home)
    run = _recorded(home)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        patch.setenv("RAZOR_CACHE", str(home / "cache"))
        patch.setenv("RAZOR_DATA_DIR", str(home / "prepared"))
        patch.setenv("COLUMNS", "140")
        patch.syspath_prepend(str(home))
        yield World(home, run)


def results(home: Path) -> None:
    """Put the pages of results and their scores into the folder, as they are."""
    for file in (ROOT / "docs/results").glob("*"):
        shutil.copy(file, home / "docs/results" / file.name)
