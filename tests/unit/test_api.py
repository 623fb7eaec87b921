"""One call from Python: what it returns, what it leaves alone, what it refuses, and that a command line says
the same.
"""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from loading_cases import TINY, hf_folder, open_clip_folder, small
from PIL import Image
from siglip_folders import CONTEXT, siglip_folder
from tiny_world import tokenize

import razor_cli
from razor_cli.config import command_line, compose
from razor_cli.errors import ConfigError
from razor_cli.families.clip.loaded import LoadedClip, handed
from razor_cli.run import perform
from razor_cli.runs.folder import complete_runs
from razor_cli.screen import Screen
from razor_cli.weights.checkpoint import read_state

__all__ = ["small"]  # a fixture
CONCEPTS = ("Ada", "Ben", "Cleo")
SMALL = {
    "n_forget": 6,
    "n_retain": 8,
    "n_validation_forget": 3,
    "n_validation_retain": 6,
    "n_evaluation_forget": 3,
    "n_evaluation_retain": 6,
}
CALL: dict[str, Any] = {"method": "random", "scenario": "identity", "data": "folder"}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    draw = np.random.default_rng(0)
    for concept in CONCEPTS:
        (folder / concept).mkdir()
        for i in range(16):
            pixels = draw.integers(0, 255, (24, 24, 3), dtype=np.uint8)
            Image.fromarray(pixels, "RGB").save(folder / concept / f"{i}.png")
    return folder


@pytest.fixture
def asked(photographs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Give the settings of a quick edit, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    return {"data__root": photographs, **{f"data__{n}": v for n, v in SMALL.items()}}


@pytest.fixture
def model() -> Any:
    """Return the tiny open_clip model that `open_clip_folder` writes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        made = open_clip.CLIP(**TINY)
    made.visual.preprocess_cfg = {"size": 16}
    return made


def bits(model: Any) -> dict[str, bytes]:
    return {
        n: v.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        for n, v in model.state_dict().items()
    }


def tokenizer() -> Any:
    return open_clip.SimpleTokenizer(context_length=TINY["text_cfg"]["context_length"])


def test_the_model_stays_and_the_copy_has_the_new_values(
    model: Any, asked: dict[str, Any], tmp_path: Path
) -> None:
    before = bits(model)
    found = razor_cli.unlearn(model, "Ada", tokenizer=tokenizer(), **CALL, **asked)
    assert bits(model) == before and found.model is not model
    after = bits(found.model)
    changed = {n for n in after if after[n] != before[n]}
    assert changed and changed == set(found.edit.values)
    assert all(torch.equal(found.model.state_dict()[n], v) for n, v in found.edit.values.items())
    assert found.edit.scores is None and found.edit.log[0]["action"]
    assert found.edit.save(tmp_path / "p.safetensors").read_bytes() == found.edit.patch
    assert not (tmp_path / "outputs").exists()
    assert "tensors of" in repr(found) and len(repr(found)) < 200, "no tensor is printed"


def test_a_command_line_writes_the_same_patch(model: Any, asked: dict[str, Any], tmp_path: Path) -> None:
    found = razor_cli.unlearn(model, "Ada", tokenizer=tokenizer(), seed=3, **CALL, **asked)
    folder = open_clip_folder(tmp_path / "model")
    words = [f"{k.replace('__', '.')}={v}" for k, v in {**CALL, **asked}.items()]
    words += [
        "model=open_clip",
        f"model.architecture=local-dir:{folder}",
        f"model.weights={folder}",
        "target=Ada",
        "seed=3",
    ]
    experiment = compose.checked(command_line.read([*words, "quantization=none", "control=false"]))
    run, _ = perform(experiment, Screen(file=(tmp_path / "said").open("w")))
    assert run.path("patch.safetensors").read_bytes() == found.edit.patch
    assert read_state(folder).keys() == model.state_dict().keys()


def test_half_precision_and_in_place(model: Any, asked: dict[str, Any]) -> None:
    model = model.half()
    before = bits(model)
    found = razor_cli.unlearn(model, "Ada", tokenizer=tokenizer(), inplace=True, **CALL, **asked)
    assert found.model is model and bits(model) != before
    assert {v.dtype for v in found.edit.values.values()} == {torch.float16}
    assert {p.dtype for p in model.parameters()} == {torch.float16}


def test_scores_and_the_record_of_a_run(model: Any, asked: dict[str, Any], tmp_path: Path) -> None:
    more = {
        "quantization": "none",
        "control": False,
        "output_dir": tmp_path / "results",
        "model__name": "mine",
    }
    found = razor_cli.unlearn(model, "Ada", tokenizer=tokenizer(), scores=True, **CALL, **asked, **more)
    assert found.edit.scores and {r.state for r in found.edit.scores} == {"base", "edit"}
    (run,) = complete_runs(tmp_path / "results")
    assert run.record.model == "mine" and run.path("patch.safetensors").read_bytes() == found.edit.patch
    again = razor_cli.unlearn(model, "Ada", tokenizer=tokenizer(), scores=True, **CALL, **asked, **more)
    assert again.edit.patch == found.edit.patch and len(complete_runs(tmp_path / "results")) == 1


def test_a_clip_of_transformers(asked: dict[str, Any], tmp_path: Path) -> None:
    from transformers import CLIPModel, CLIPProcessor

    folder = hf_folder(tmp_path / "hf", together=True)
    model, processor = CLIPModel.from_pretrained(folder), CLIPProcessor.from_pretrained(folder)
    before = bits(model)
    found = razor_cli.unlearn(model, "Ada", processor=processor, **CALL, **asked)
    assert bits(model) == before
    assert {n for n, v in bits(found.model).items() if v != before[n]} == set(found.edit.values)


def forgotten(model: Any, asked: dict[str, Any], **beside: Any) -> None:
    """One edit by RAZOR: the model stays, the copy computes, and the verdict is that of a sigmoid loss."""
    before = bits(model)
    more: dict[str, Any] = {"method": "razor", "method__retries": [], "quantization": "none", "scores": True}
    found = razor_cli.unlearn(model, "Ada", **beside, **{**CALL, **asked, **more})
    changed = {n for n, v in bits(found.model).items() if v != before[n]}
    assert bits(model) == before and changed and changed == set(found.edit.values)
    assert not {"logit_scale", "logit_bias"} & changed
    assert found.edit.verdict and "m1_multiclass: m1 multiclass" in found.edit.verdict.reasons[0]


def test_a_siglip_of_transformers(asked: dict[str, Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer, SiglipImageProcessor, SiglipModel, SiglipProcessor

    folder = siglip_folder(tmp_path / "siglip")
    pictures, words = SiglipImageProcessor.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    model = SiglipModel.from_pretrained(folder)
    forgotten(model, asked, processor=SiglipProcessor(pictures, words))
    model.config.vision_config.vision_use_head = False
    with pytest.raises(ConfigError, match="pools nothing"):
        razor_cli.unlearn(model, "Ada", **CALL, **asked)


@pytest.mark.parametrize("name", ["ViT-B-16-SigLIP2", "ViT-SO400M-16-SigLIP-i18n-256"])
def test_a_siglip_of_open_clip(name: str, asked: dict[str, Any], tmp_path: Path, small: Any) -> None:
    small.register(tmp_path / "configs", "small", config := small.small(name))
    length = config["text_cfg"]["context_length"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = open_clip.create_model("small")
    forgotten(model, asked, tokenizer=lambda texts: tokenize(texts, length))


def test_a_siglip_of_any_resolution_is_refused_with_the_reason() -> None:
    from transformers import Siglip2Config, Siglip2Model

    tower = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4, "num_hidden_layers": 1}
    text = {"vocab_size": 64, "max_position_embeddings": CONTEXT, "projection_size": 32}
    special = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    vision = {**tower, "patch_size": 8, "num_patches": 4}
    model = Siglip2Model(Siglip2Config(text_config={**tower, **text, **special}, vision_config=vision))
    with pytest.raises(ConfigError, match=r"NaFlex(.|\n)*one resolution"):
        razor_cli.unlearn(model, "Ada")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "tokenizer is needed with this model"),
        ({"processor": 1}, "processor: not used with a model of open_clip"),
        ({"tokenizer": tokenizer, "dry_run": True}, "dry_run belongs to a command line"),
        ({"tokenizer": tokenizer, "method__rho_": 1}, r"method\.rho_: there is no such setting"),
        ({"tokenizer": tokenizer, "seed": object()}, "seed has the wrong type"),
        ({"tokenizer": tokenizer, "scores": 1}, "scores has the wrong type"),
    ],
)
def test_what_is_asked_wrongly_is_an_exception(
    model: Any, asked: dict[str, Any], more: dict[str, Any], said: str
) -> None:
    given = {k: v() if callable(v) and k == "tokenizer" else v for k, v in more.items()}
    with pytest.raises(ConfigError, match=said):
        razor_cli.unlearn(model, "Ada", **CALL, **asked, **given)


def test_other_models_are_refused_with_the_list_of_those_that_are_served() -> None:
    with pytest.raises(ConfigError, match=r"open_clip model.*CLIPModel or SiglipModel of transformers"):
        razor_cli.unlearn(torch.nn.Linear(2, 2), "Ada")


def test_a_model_in_memory_is_not_opened() -> None:
    for ask in (LoadedClip().open, lambda: LoadedClip().cost(None)):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="in memory"):
            ask()


def test_models_that_differ_in_an_attribute_are_two(model: Any) -> None:
    """How a tower pools is in no tensor and is not printed either."""
    found = []
    for pools in ("tok", "avg"):
        own = copy.deepcopy(model)
        own.visual.pool_type = pools
        assert str(own) == str(model)
        found.append(handed(own, {"tokenizer": tokenizer()}, {}).settings["weights"])
    assert found[0] != found[1]


def test_importing_the_package_loads_no_library() -> None:
    code = "import sys, razor_cli; sys.exit(any(m in sys.modules for m in ('torch', 'hydra', 'rich')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
