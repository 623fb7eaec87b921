"""Real checkpoint layouts, loaded by our path and by the libraries' own: equal outputs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from loading_cases import TINY, architectures, hf_folder, weights_of, written
from open_clip import factory, pretrained
from PIL import Image
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.families.clip import open_clip_models
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.load import load
from razor_cli.families.clip.open_clip_models import load_open_clip
from razor_cli.families.clip.spec import ClipSpec

__all__ = ["architectures"]  # a fixture
TEXTS = ["a photo of Taylor Swift.", "an emoji of an owl", "Beyoncé"]


def picture(width: int, height: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).uniform(0, 255, (4, 5, 3)).astype(np.uint8)
    return Image.fromarray(noise, "RGB").resize((width, height), Image.Resampling.BICUBIC)


PICTURES = [picture(16, 16), picture(40, 25, 1), picture(20, 33, 2)]


def assert_same_outputs(
    model: Clip, module: Any, transform: Any, tokenizer: Any, tolerance: float = 1e-6
) -> None:
    with torch.no_grad():
        pixels = torch.stack([transform(p) for p in PICTURES])
        assert torch.equal(model.preprocess(PICTURES), pixels)
        whole, cut = tokenizer(TEXTS), model.tokenize(TEXTS)  # only padding is cut
        assert torch.equal(cut, whole[:, : cut.shape[1]]) and not whole[:, cut.shape[1] :].any()
        images, texts = (
            module.encode_image(pixels, normalize=True),
            module.encode_text(tokenizer(TEXTS), normalize=True),
        )
        assert torch.allclose(model.encode_image(pixels), images, atol=tolerance)
        assert torch.allclose(model.encode_text(tokenizer(TEXTS)), texts, atol=tolerance)
        assert not torch.allclose(texts[0], texts[1], atol=1e-2)
    assert model.scale == pytest.approx(module.logit_scale.exp().item())


@pytest.mark.parametrize("file", ["w.pt", "w.safetensors", "wrapped.pt"])
@pytest.mark.parametrize("architecture", ["tiny", "tiny-quickgelu", "tiny-custom-text"])
def test_an_open_clip_file_gives_the_librarys_own_outputs(
    architectures: None, tmp_path: Path, file: str, architecture: str
) -> None:
    state = weights_of(architecture)
    path = written(tmp_path / file.replace("w.", f"{architecture.replace('-', '_')}."), state)
    model = load(
        name="open_clip", library="open_clip", architecture=architecture, weights=str(path), device="cpu"
    )
    module, _, transform = open_clip.create_model_and_transforms(architecture, pretrained=str(path))
    assert_same_outputs(model, module.eval(), transform, open_clip.get_tokenizer(architecture))
    assert len(model.components(Granularity.HEAD_MLP, Towers.BOTH)) == 2 * 5 + 2 * 5
    assert not model.stand_in and model.source == path.name and not model.module.training
    assert set(model.stored) >= set(parameters(model))


def test_half_precision_files_compute_in_single_and_remember_their_dtype(
    architectures: None, tmp_path: Path
) -> None:
    state = weights_of("tiny", torch.float16)
    model = load_open_clip("x", "tiny", str(written(tmp_path / "w.safetensors", state)))
    for name, value in parameters(model).items():
        assert value.dtype is torch.float32 and torch.equal(value, state[name].float())
        assert model.storage_dtype(name) is torch.float16


def test_the_hash_is_that_of_content_and_architecture(architectures: None, tmp_path: Path) -> None:
    state = weights_of("tiny")
    one, other = (
        load_open_clip("x", "tiny", str(written(tmp_path / f, state))).weights_hash()
        for f in ("a.pt", "b.safetensors")
    )
    assert one == other
    state["visual.proj"][0, 0] += 1e-4
    assert load_open_clip("x", "tiny", str(written(tmp_path / "c.pt", state))).weights_hash() != one
    assert load_open_clip("x", "tiny-quickgelu", str(tmp_path / "a.pt")).weights_hash() != one


def test_an_open_clip_folder_brings_its_own_preprocessing(architectures: None, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    written(folder / "open_clip_model.safetensors", weights_of("tiny"))
    preprocess = {
        "mean": [0.5, 0.4, 0.3],
        "std": [0.2, 0.3, 0.4],
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    (folder / "open_clip_config.json").write_text(
        json.dumps({"model_cfg": TINY, "preprocess_cfg": preprocess})
    )
    model = load_open_clip("x", "tiny", str(folder))
    module, _, transform = open_clip.create_model_and_transforms(f"local-dir:{folder}")
    assert_same_outputs(model, module.eval(), transform, open_clip.get_tokenizer("tiny"))


def test_a_tag_brings_its_own_preprocessing(
    architectures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the published tags ViT-L-14 laion2b_s32b_b82k has another mean, and ViT-H-14 dfn5b squashes
    pictures.
    """
    path = written(tmp_path / "w.pt", weights_of("tiny"))
    entry = pretrained._pcfg(
        url="nowhere/w.pt", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), resize_mode="squash"
    )
    monkeypatch.setitem(pretrained._PRETRAINED, "tiny", {"own": entry})
    for place in (open_clip_models.open_clip, factory):
        monkeypatch.setattr(place, "download_pretrained", lambda *_, **__: str(path))
    model = load_open_clip("x", "tiny", "own")
    module, _, transform = open_clip.create_model_and_transforms("tiny", pretrained="own")
    assert_same_outputs(model, module.eval(), transform, open_clip.get_tokenizer("tiny"))


# ------------------------------------------------------------------ Hugging Face


def pooled(found: Any) -> Tensor:
    return F.normalize(found if isinstance(found, Tensor) else found.pooler_output, dim=-1)


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("together", [False, True])
def test_a_hugging_face_folder_gives_the_librarys_own_outputs(
    tmp_path: Path, own: bool, together: bool
) -> None:
    from transformers import CLIPModel, CLIPProcessor

    folder = hf_folder(tmp_path / "hf", own=own, together=together)
    model = load(name="hf_clip", library="hf", architecture=None, weights=str(folder), device="cpu")
    module, processor = CLIPModel.from_pretrained(folder).eval(), CLIPProcessor.from_pretrained(folder)
    with torch.no_grad():
        pixels = processor(images=PICTURES, return_tensors="pt")["pixel_values"]
        assert torch.allclose(model.preprocess(PICTURES[:1]), pixels[:1], atol=1e-5)  # no resizing
        assert (
            float((model.preprocess(PICTURES) - pixels).abs().mean()) < 0.02
        )  # libraries round resized pixels each their way
        assert torch.allclose(
            model.encode_image(pixels), pooled(module.get_image_features(pixel_values=pixels)), atol=1e-6
        )
        tokens = processor(text=TEXTS, return_tensors="pt", padding=True)
        texts = pooled(module.get_text_features(**tokens))
        assert torch.allclose(model.encode_text(model.tokenize(TEXTS)), texts, atol=1e-5)
        assert not torch.allclose(texts[0], texts[1], atol=1e-2)
    assert model.scale == pytest.approx(module.logit_scale.exp().item())
    assert len(model.components(Granularity.HEAD_MLP, Towers.BOTH)) == 20
    covered = model.quantizable()
    linear = [name for names in covered.linear.values() for name in names]
    assert len(linear) == sum(covered.counted.values()) == 2 * 2 * 6 and set(linear) <= set(parameters(model))


@pytest.mark.parametrize("library", list(Library))
def test_settings_know_the_hash_that_the_loaded_model_has(
    architectures: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, library: Library
) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "cache"))
    if library is Library.STAND_IN:
        spec = ClipSpec()
    elif library is Library.HF:
        folder = hf_folder(tmp_path / "hf", own=True, together=True)
        spec = ClipSpec(name="hf_clip", stand_in=False, library=library, weights=str(folder))
    else:
        path = written(tmp_path / "w.pt", weights_of("tiny-quickgelu"))
        settings: dict[str, Any] = {"architecture": "tiny", "variant": "quickgelu", "weights": str(path)}
        spec = ClipSpec(name="own", stand_in=False, library=library, **settings)
    assert spec.weights_hash() == spec.open().weights_hash()
