"""Checkpoints and devices that are refused, with what is wrong and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import open_clip
import pytest
import torch
from loading_cases import TINY, architectures, weights_of, written

from razor_cli.config.conf_files import file_of, values
from razor_cli.errors import ConfigError, WeightsError
from razor_cli.families.clip import open_clip_models
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.load import choose_device
from razor_cli.families.clip.open_clip_models import (
    check_activation,
    load_open_clip,
    resolve_weights,
    trained_with_quick_gelu,
)

__all__ = ["architectures"]  # a fixture

RELEASED = "vit_b_32-quickgelu-laion400m_e32-46683a32.pt"


@pytest.mark.parametrize(
    ("architecture", "file", "weights", "right"),
    [
        ("ViT-B-32", RELEASED, f"dir/{RELEASED}", "ViT-B-32-quickgelu"),
        ("ViT-B-32", "somewhere.pt", "laion400m_e32", "ViT-B-32-quickgelu"),
        ("ViT-B-32", "my-quickgelu-run.pt", "my-quickgelu-run.pt", "ViT-B-32-quickgelu"),
        (
            "ViT-B-32-quickgelu",
            "vit_b_32-laion2b_e16-af8dbd0c.pth",
            "vit_b_32-laion2b_e16-af8dbd0c.pth",
            "ViT-B-32",
        ),
        (
            "ViT-L-14-quickgelu",
            "vit_l_14-laion400m_e32-3d133497.pt",
            "vit_l_14-laion400m_e32-3d133497.pt",
            "ViT-L-14",
        ),
    ],
)
def test_the_other_activation_is_refused_with_the_right_name(
    architecture: str, file: str, weights: str, right: str
) -> None:
    with pytest.raises(WeightsError) as caught:
        check_activation(architecture, architecture.endswith("quickgelu"), Path(file), weights)
    assert caught.value.fix == f"set model.architecture={right}"
    assert "model.weights" in str(caught.value) and "QuickGELU" in str(caught.value)


@pytest.mark.parametrize(
    ("architecture", "file", "weights"),
    [
        ("ViT-B-32-quickgelu", RELEASED, RELEASED),
        ("ViT-B-32-quickgelu", "somewhere.pt", "laion400m_e32"),
        ("ViT-B-32", "vit_b_32-laion2b_e16-af8dbd0c.pth", "laion2b_e16"),
        ("ViT-L-14", "vit_l_14-laion400m_e32-3d133497.pt", "laion400m_e32"),
        ("ViT-B-32", "mine.pt", "mine.pt"),
        ("ViT-B-32-quickgelu", "mine.pt", "mine.pt"),
    ],
)
def test_the_right_activation_passes(architecture: str, file: str, weights: str) -> None:
    check_activation(architecture, architecture.endswith("quickgelu"), Path(file), weights)


@pytest.mark.parametrize("quick", [True, False])
def test_a_folders_own_configuration_tells_its_activation(tmp_path: Path, quick: bool) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": quick}}))
    check_activation("ViT-B-32" + "-quickgelu" * quick, quick, tmp_path, str(tmp_path))
    with pytest.raises(WeightsError, match="quickgelu" if quick else "GELU"):
        check_activation("ViT-B-32" + "-quickgelu" * (not quick), not quick, tmp_path, str(tmp_path))


def test_a_mismatch_is_refused_before_the_weights_are_read(architectures: None, tmp_path: Path) -> None:
    (tmp_path / RELEASED).write_bytes(b"no weights at all")
    with pytest.raises(WeightsError, match="ViT-B-32-quickgelu"):
        load_open_clip("clip_vitb32", "ViT-B-32", str(tmp_path / RELEASED))


def test_tensors_that_do_not_fit_are_named(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny")
    del state["visual.proj"]
    state["somebody.elses"] = torch.zeros(2)
    state["ln_final.weight"] = torch.zeros(7)
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "tiny", str(written(tmp_path / "w.safetensors", state)))
    for part in (
        "1 missing: visual.proj",
        "1 unknown: somebody.elses",
        "ln_final.weight (7,) instead of (32,)",
        "w.safetensors",
    ):
        assert part in str(caught.value)
    assert "model.architecture" in str(caught.value.fix)


def test_another_architectures_file_is_refused(architectures: None, tmp_path: Path) -> None:
    path = written(tmp_path / "w.safetensors", weights_of("tiny-custom-text"))
    with pytest.raises(WeightsError, match="do not fit"):
        load_open_clip("x", "tiny", str(path))


def test_a_tower_whose_heads_are_no_slices_is_refused(architectures: None, tmp_path: Path) -> None:
    config = TINY | {"text_cfg": {**TINY["text_cfg"], "block_type": "custom", "scale_heads": True}}
    (tmp_path / "configs" / "tiny-scaled.json").write_text(json.dumps(config))
    open_clip.add_model_config(tmp_path / "configs")
    path = written(tmp_path / "w.safetensors", weights_of("tiny-scaled"))
    with pytest.raises(
        WeightsError, match=r"is not served: the blocks of its text_cfg .* heads are not slices"
    ):
        load_open_clip("x", "tiny-scaled", str(path))


def test_unknown_names_come_with_the_nearest() -> None:
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "ViT-B-33", "laion400m_e32")
    assert "ViT-B-33" in str(caught.value) and "ViT-B-32" in str(caught.value)
    with pytest.raises(WeightsError) as caught:
        load_open_clip("x", "ViT-B-32", "laion400m_e33")
    assert "laion400m_e32" in str(caught.value.allowed) and "clip_tiny" in str(caught.value.fix)


@pytest.mark.parametrize("weights", [None, ""])
def test_no_weights_at_all_names_the_ways_out(weights: str | None) -> None:
    with pytest.raises(WeightsError) as caught:
        resolve_weights("ViT-B-32", weights)
    assert "model.weights=FILE_OR_TAG" in str(caught.value) and "model=clip_tiny" in str(caught.value)


def test_a_tag_that_cannot_be_fetched_names_the_ways_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = open_clip.download_pretrained
    monkeypatch.setattr(
        open_clip_models.open_clip, "download_pretrained", lambda cfg: fetch(cfg, cache_dir=str(tmp_path))
    )
    with pytest.raises(WeightsError) as caught:
        load_open_clip("clip_vitb32", "ViT-B-32-quickgelu", "laion400m_e32")
    text = str(caught.value)
    for part in (
        "model.weights=laion400m_e32",
        "ViT-B-32-quickgelu",
        "model.weights=FILE_OR_TAG",
        "model=clip_tiny",
    ):
        assert part in text
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.pt"))
    assert caught.value.exit_code == 2


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == "cpu"
    with pytest.raises(ConfigError, match=r"model\.device"):
        choose_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert (choose_device("auto"), choose_device("cuda"), choose_device("cpu")) == ("cuda", "cuda", "cpu")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    for folder in (None, str(tmp_path), str(tmp_path / "absent")):
        with pytest.raises(WeightsError, match=r"model\.weights.*Hugging Face"):
            load_hugging_face("hf_clip", folder)


@pytest.mark.parametrize(("name", "quick"), [("clip_vitb32", True), ("clip_vitl14", False)])
def test_shipped_models_name_the_architecture_of_their_default_weights(name: str, quick: bool) -> None:
    settings = values(file_of("model", name))
    architecture, tag = settings["architecture"], settings["weights"]
    assert trained_with_quick_gelu(architecture, Path("anything.pt"), tag) is quick
    assert bool(open_clip.get_model_config(architecture).get("quick_gelu")) is quick
    check_activation(architecture, quick, Path("anything.pt"), tag)
