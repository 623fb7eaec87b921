"""Towers of every kind that open_clip has, small, with random weights: from a file to a patch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from loading_cases import small, written

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice
from razor_cli.dual.complete import never_edited
from razor_cli.errors import WeightsError
from razor_cli.families.clip.open_clip_build import build
from razor_cli.families.clip.open_clip_models import load_open_clip

__all__ = ["small"]  # a fixture
KINDS = {  # one of each kind: an image tower, or a text tower; with what it has beside or instead of heads
    "RN50": {"visual.pool.head0", "visual.3.conv"},
    "convnext_tiny": {"visual.4.conv", "visual.4.mlp"},
    "ViTamin-S": {"visual.stem0.conv", "visual.1.head3"},
    "MobileCLIP2-S0": {"visual.0.conv", "visual.0.mlp", "visual.4.head1"},
    "swin_base_patch4_window7_224": {"visual.0.head0", "visual.4.head3"},
    "vit_relpos_medium_patch16_cls_224": {"visual.1.head0"},
    "EVA02-E-14": {"visual.1.head0"},
    "PE-Core-T-16-384": {"visual.pool.head3", "visual.pool.mlp"},
    "coca_ViT-B-32": {"visual.pool.head7"},
    "roberta-ViT-B-32": {"text.1.head3", "text.1.mlp"},
}


@pytest.mark.parametrize("name", KINDS)
def test_a_tower_is_cut_edited_quantized_and_patched(
    small: Any, tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    from small_trial import examine

    found = examine(name, 0, tmp_path)
    assert found["patched"] > 0 and found["quantized"]["int8"] > 0
    assert "randomly" not in caplog.text  # weights follow, and nobody needs to be told that they have not yet
    model = load_open_clip("again", f"small-{name}", str(tmp_path / "weights.safetensors"))
    assert KINDS[name] <= {c.name for c in model.components(Granularity.HEAD_MLP, Towers.BOTH)}


@pytest.fixture
def resnet(small: Any, tmp_path: Path) -> Any:
    config = small.small("RN50")
    small.register(tmp_path / "configs", "small-RN50", config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(config)


def test_statistics_of_batch_norms_come_from_the_file(resnet: Any, tmp_path: Path) -> None:
    state = {n: v.clone() for n, v in resnet.state_dict().items()}
    name = "visual.layer3.0.bn1.running_mean"
    state[name] += 1
    model = load_open_clip("x", "small-RN50", str(written(tmp_path / "w.safetensors", state)))
    assert torch.equal(model.module.get_buffer(name), state[name])
    del state[name]
    with pytest.raises(WeightsError, match=f"running statistic.*(?s:.*){name}"):
        load_open_clip("x", "small-RN50", str(written(tmp_path / "w.safetensors", state)))


def test_what_components_leave_out_or_own_twice_is_named(resnet: Any, tmp_path: Path) -> None:
    model = load_open_clip("x", "small-RN50", str(written(tmp_path / "w.pt", resnet.state_dict())))
    every, layouts = model.components(Granularity.HEAD_MLP, Towers.BOTH), model.layouts
    convolution = next(c for c in every if c.name == "visual.2.conv")
    twice = Component("again", "tensor", "vision", 2, (Slice(convolution.params[0], 0, 0, 1),))
    for listed, says in (
        ([c for c in every if c is not convolution], f"owns {convolution.params[0]}, and nothing says why"),
        ([*every, twice], f"own the same numbers of {convolution.params[0]}"),
        ([c for c in every if c.name != "visual.pool.head0"], "numbers of visual.attnpool"),
    ):
        model.components = lambda *_, found=listed, **__: found  # type: ignore[method-assign]
        with pytest.raises(WeightsError, match=says):
            never_edited(model, layouts, Granularity.HEAD_MLP)


def test_a_module_is_the_one_that_the_library_builds(small: Any, tmp_path: Path) -> None:
    """In its weights and in how pictures are prepared, towers of timm and of open_clip alike."""
    for name in ("ViT-S-32-alt", "PE-Core-T-16-384"):
        config = small.small(name)
        small.register(tmp_path, f"small-{name}", config)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            ours = build(config)
            torch.manual_seed(0)
            theirs = open_clip.create_model(f"small-{name}", load_weights=False)
        assert ours.visual.preprocess_cfg == theirs.visual.preprocess_cfg and type(ours) is type(theirs)
        own = dict(theirs.named_parameters())
        assert all(torch.equal(v, own[n]) for n, v in ours.named_parameters()) and len(own) > 50
