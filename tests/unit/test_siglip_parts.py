"""The parts of a SigLIP: the attention that pools, replay, what quantization covers, and an edit from end to
end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from presets import preset
from siglip_folders import make_siglip
from tiny_world import leaked, make_sets, run

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.dual.complete import never_edited
from razor_cli.dual.components import list_components
from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import Tower
from razor_cli.families.clip.architectures import configuration_of, serves
from razor_cli.families.clip.open_clip_build import build
from razor_cli.families.clip.open_clip_models import preprocessing
from razor_cli.families.clip.towers import layouts_of

NAMES = [n for n in open_clip.list_models() if "-SigLIP" in n]
SETS = make_sets()
METHODS = "slug ssd salun lotus ft ga gaft gdiff ga_kl relabel me_gd task_vector npo_kl nhl_kl".split()


@pytest.fixture(scope="module")
def model() -> Any:
    return make_siglip()


# ------------------------------------------------------------------ components and replay


@pytest.mark.parametrize("granularity", list(Granularity))
def test_every_parameter_is_owned_once_or_never_edited(model: Any, granularity: Granularity) -> None:
    reasons = never_edited(model, model.layouts, granularity, True)  # raises for any that is neither
    pool = {n for n in parameters(model) if n.startswith("vision_model.head.")}
    assert pool & reasons.keys() < pool
    if granularity is Granularity.HEAD_MLP:
        names = [c.name for c in model.components(granularity, Towers.BOTH)]
        assert [n for n in names if ".pool." in n] == [
            *(f"visual.pool.head{i}" for i in range(4)),
            "visual.pool.mlp",
        ]
        left = {n.removeprefix("vision_model.head.") for n in pool & reasons.keys()}
        assert left == {"probe", "attention.out_proj.bias", "layernorm.weight", "layernorm.bias"}


@torch.no_grad()
def test_a_head_of_the_pooling_is_what_its_slices_say(model: Any) -> None:
    """Without its columns of the output matrix the attention gives what its values without that head's rows
    give.
    """
    pixels = model.preprocess(SETS.retain.load(0, 3))
    head = next(
        c for c in model.components(Granularity.HEAD_MLP, Towers.BOTH) if c.name == "visual.pool.head2"
    )
    found = []
    for wanted in ("out_proj.weight", "in_proj"):
        values = {n: v.clone() for n, v in parameters(model).items() if n in head.params}
        for piece, view in zip(head.slices, head.views(values), strict=True):
            of_values = (
                piece.dim == 0 and piece.start is not None and piece.start >= 64
            )  # below queries and keys
            if wanted in piece.param and (wanted != "in_proj" or of_values):
                view.zero_()
        with swapped(model, values):
            found.append(model.encode_image(pixels))
    assert torch.allclose(*found, atol=1e-6) and not torch.allclose(
        found[0], model.encode_image(pixels), atol=1e-4
    )


@torch.no_grad()
@pytest.mark.parametrize(("tower", "layer"), [(t, n) for t in Tower for n in (1, 2)])
def test_replay_equals_the_full_forward(model: Any, tower: Tower, layer: int) -> None:
    is_vision = tower is Tower.VISION
    inputs = (
        model.preprocess(SETS.retain.load(0, 4)) if is_vision else model.tokenize(list(SETS.prompts.values()))
    )
    encode = model.encode_image if is_vision else model.encode_text
    saved = run_prefix(model, tower, inputs, layer)
    assert torch.equal(run_suffix(model, tower, inputs, layer, saved), encode(inputs))
    later = [
        c
        for c in model.components(Granularity.HEAD_MLP, Towers.BOTH, True)
        if c.tower == tower and c.layer >= layer
    ]
    assert later
    with swapped(model, {n: 1.3 * parameters(model)[n] for c in later for n in c.params}):
        assert torch.equal(run_suffix(model, tower, inputs, layer, saved), encode(inputs))


def test_quantization_covers_the_pooling(model: Any) -> None:
    covered = model.quantizable()
    assert (
        {t: len(names) for t, names in covered.linear.items()}
        == covered.counted
        == {"vision": 16, "text": 12}
    )
    assert covered.projections["text"] == ["text_model.head.weight"]


# ------------------------------------------------------------------ an edit


def test_razor_forgets_the_same_by_both_engines() -> None:
    method = preset("razor", retries=[])
    first, second = (run(method, make_siglip(), SETS, fast=fast) for fast in (True, False))
    assert first.components and list(first.components) == list(second.components)
    assert all(torch.allclose(v, second.values[n], atol=1e-6) for n, v in first.values.items())
    model = make_siglip()
    assert leaked(first, model) == []
    images, texts = (
        model.preprocess(SETS.evaluation.forget.load(0, 12)),
        model.tokenize(list(SETS.prompts.values())),
    )

    def called_ada() -> float:
        with torch.no_grad():
            return float(
                (model.encode_image(images) @ model.encode_text(texts).T).argmax(1).eq(0).float().mean()
            )

    assert called_ada() > 0.7
    with swapped(model, first.values):
        assert called_ada() < 0.3


@pytest.mark.parametrize("name", METHODS)
def test_every_method_serves_it_and_leaves_scale_and_bias(name: str) -> None:
    changes = {} if name in ("ssd", "slug") else {"epochs": 1}
    edit = run(preset(name, **changes), make_siglip(), SETS)
    assert edit.values and not {"logit_scale", "logit_bias"} & edit.values.keys()


# ------------------------------------------------------------------ open_clip


def test_all_siglip_names_of_open_clip_are_served_and_covered() -> None:
    assert len(NAMES) == 26 and all(serves(configuration_of(n)) for n in NAMES)
    for name in ("ViT-B-16-SigLIP2", "ViT-SO400M-16-SigLIP-i18n-256"):  # the second projects no texts
        with torch.device("meta"):
            module = build(configuration_of(name))
        layouts = layouts_of(module)
        assert [b.attention is not None and len(b.mlp) for b in layouts[0].pool] == [4]  # type: ignore[union-attr]
        for granularity in (Granularity.HEAD_MLP, Granularity.TENSOR):
            never_edited(_Meta(module, layouts), layouts, granularity, True)  # type: ignore[arg-type]


class _Meta:
    """Components of a module without weights."""

    def __init__(self, module: Any, layouts: Any) -> None:
        self.module, self.layouts = module, layouts

    def components(self, granularity: Granularity, towers: Towers, include_projections: bool = False) -> Any:
        live = dict(self.module.named_parameters())
        return list_components(self.layouts, live, granularity, towers, include_projections)


def test_a_file_of_a_siglip_takes_pictures_as_the_released_ones_do(tmp_path: Path) -> None:
    said = preprocessing("ViT-B-16-SigLIP2-256", tmp_path / "own.safetensors", None)
    assert said == {
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
        "interpolation": "bicubic",
        "resize_mode": "squash",
    }
    assert preprocessing("ViT-B-16", tmp_path / "own.safetensors", None) == {}
