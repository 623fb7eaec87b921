"""The image tower of a LLaVA as a CLIP's: the same embeddings where they belong together, and a refusal where
they do not.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_llava import LAYERS, opened, tiny_companion, tiny_llava
from tiny_world import Noise, make_sets

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.cost import Cost
from razor_cli.data.sources.base import Picture
from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import Tower
from razor_cli.errors import WeightsError
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.kinds import Candidates, Pool, Tiles
from razor_cli.families.llava.tower import SharedTower


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tower")


@pytest.fixture(scope="module")
def model(root: Path) -> Llava:
    return opened(root / "plain")


def pictures() -> list[Image.Image]:
    return make_sets().retain.load(0, 3)


def test_embeddings_are_those_of_the_clip_that_the_tower_comes_from(model: Llava, root: Path) -> None:
    clip, images, texts = load_hugging_face("clip", str(root / "plain_clip")), pictures(), ["a photo", "owls"]
    shared = model.shared
    torch.testing.assert_close(
        shared.encode_image(shared.preprocess(images)), clip.encode_image(clip.preprocess(images))
    )
    assert torch.equal(shared.encode_text(shared.tokenize(texts)), clip.encode_text(clip.tokenize(texts)))
    assert shared.scale == clip.scale
    assert shared.aligned
    assert "logit_scale" in dict(shared.module.named_parameters())


def test_the_tower_is_the_models_own(model: Llava) -> None:
    shared, images = model.shared, pictures()
    pixels = shared.preprocess(images)
    before, name = shared.encode_image(pixels), f"{model.editable.layout.block(1)}mlp.fc1.weight"
    with swapped(model, {name: parameters(model)[name] * 2}):
        assert not torch.equal(shared.encode_image(pixels), before)
    assert torch.equal(shared.encode_image(pixels), before)


def test_the_mean_of_patches_is_of_the_state_that_the_projector_reads(root: Path) -> None:
    shared = opened(root / "plain", vision_pool=Pool.MEAN_PATCH).shared
    pixels = shared.preprocess(pictures())
    tower, clip = shared.tower, shared.companion.module
    states = tower(pixels, output_hidden_states=True).hidden_states
    assert len(states) == LAYERS + 1
    mean = tower.post_layernorm(states[-2][:, 1:].mean(dim=1))
    torch.testing.assert_close(
        shared.encode_image(pixels),
        F.normalize(clip.visual_projection(mean), dim=-1),  # type: ignore[operator]
    )


@pytest.mark.parametrize("pool", Pool)
@pytest.mark.parametrize("layer", [1, LAYERS - 1])
def test_replay_from_a_layer_on_gives_the_same_embeddings(root: Path, pool: Pool, layer: int) -> None:
    shared = opened(root / "plain", vision_pool=pool).shared
    pixels = shared.preprocess(pictures())
    with torch.no_grad():
        saved = run_prefix(shared, Tower.VISION, pixels, layer)
        found = run_suffix(shared, Tower.VISION, pixels, layer, saved)
        torch.testing.assert_close(found, shared.encode_image(pixels), atol=1e-6, rtol=1e-5)


def test_of_tiles_losses_look_at_the_whole_picture_or_at_the_mean_of_all(root: Path) -> None:
    images = [i.resize(size) for i, size in zip(pictures(), ((50, 20), (20, 50), (24, 24)), strict=True)]
    base, every = (opened(root / "next", loss_tiles=tiles).shared for tiles in Tiles)
    wholes, tiles = base.preprocess(images), every.preprocess(images)
    assert wholes.shape == (3, 3, 24, 24)
    assert torch.equal(tiles[:, 0], wholes)
    with torch.no_grad():
        for row, found in zip(tiles, every.encode_image(tiles), strict=True):
            rows = torch.stack([t for t in row if t.any()])
            mean = base.encode_image(rows).mean(dim=0)
            torch.testing.assert_close(found, F.normalize(mean, dim=-1))
    alone = every.preprocess(images[2:])
    assert alone.shape[1] == tiles.shape[1], "batches may be put together"


class ByKey(Noise):
    """Pictures that stay as they are when they are called otherwise."""

    def render(self, picture: Picture) -> Image.Image:
        return super().render(replace(picture, concept=picture.key.partition("/")[0]))


def spoilt_tower(root: Path, amount: float) -> Path:
    """Write a CLIP whose image tower is moved away from the LLaVA's; return its folder."""
    llava = root / "plain" if (root / "plain").exists() else tiny_llava(root / "plain")
    clip = tiny_companion(llava, root / f"moved{amount}")
    state = load_file(clip / "model.safetensors")
    for name, value in state.items():
        if name.startswith("vision_model.") and value.ndim == 2:
            drawn = torch.randn(value.shape, generator=torch.Generator().manual_seed(3))
            value.add_(amount * value.std() * drawn)
    save_file(state, clip / "model.safetensors", metadata={"format": "pt"})
    return clip


def test_a_clip_that_does_not_fit_is_refused_before_its_losses_are_used(root: Path) -> None:
    sets = make_sets(ByKey())
    family = opened(root / "plain", companion=str(spoilt_tower(root, 3.0)))
    shared = family.shared
    assert not shared.aligned
    # A CLIP that names what it sees, at a label space made of its own answers: the pair has to keep up.
    part = sets.validation.retain
    texts = shared.encode_text(shared.tokenize([sets.prompts[n] for n in sets.class_names]))
    towers: list[Any] = [shared, shared.companion]
    pair, clip = (t.encode_image(t.preprocess(part.load())) @ texts.T for t in towers)
    known = [sets.class_names[i] for i in clip.argmax(dim=-1).tolist()]
    share = float((pair.argmax(dim=-1) == clip.argmax(dim=-1)).float().mean())
    assert share < 0.9
    pictured = zip(part.pictures, known, strict=True)
    named = replace(part, pictures=tuple(replace(p, concept=c) for p, c in pictured))
    theirs = replace(sets, validation=replace(sets.validation, retain=named))
    assert shared.check_aligned(theirs, 0.0) == pytest.approx((100 * share, 100.0))
    with pytest.raises(WeightsError, match="do not fit") as told:
        shared.check_aligned(theirs, share + 0.05)
    assert "model.min_alignment" in str(told.value)
    family.min_alignment = share + 0.05
    with pytest.raises(WeightsError, match="do not fit"):
        family.loss("cosine", theirs)
    assert family.loss("answer_nll", theirs) is not None


def test_a_tower_that_was_tuned_a_little_passes_the_check(root: Path) -> None:
    sets = make_sets()
    family = opened(root / "plain", companion=str(spoilt_tower(root, 0.01)))
    found = family.shared.check_aligned(sets, 0.5)
    assert found is not None
    assert isinstance(family.aligned(sets), SharedTower)
    assert not family.shared.aligned


def test_the_scoreboard_of_the_towers_judges_edits_of_the_image_tower(model: Llava) -> None:
    sets = make_sets()
    fast = model.board(sets, None, Cost(), fast=True)
    slow = model.board(sets, None, Cost(), fast=False)
    component = model.components(Granularity.HEAD_MLP, Towers.VISION)[-1]
    name = next(p for p in component.params if p.endswith("weight"))
    fast.prepare([component])
    slow.prepare([component])
    values = {name: parameters(model)[name] * 3}
    one, other = fast.trial(values, [component]), slow.trial(values, [component])
    assert one == pytest.approx(dict(other), abs=1e-4)
    assert dict(one) != dict(fast.base)


def test_the_towers_do_not_see_an_edit_of_the_projector(root: Path) -> None:
    model = opened(root / "plain", candidates=Candidates.PROJECTOR)
    board = model.board(make_sets(), None, Cost(), fast=True)
    component = model.components(Granularity.HEAD_MLP, Towers.BOTH)[0]
    board.prepare([component])
    values = {n: parameters(model)[n] * 3 for n in component.params}
    assert dict(board.trial(values, [component])) == dict(board.base)
    assert dict(board.commit([component])) == dict(board.base)
