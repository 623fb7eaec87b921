"""SLUG's retain pictures as the published code hands them out: shuffled, and cropped as open_clip trains."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

import open_clip
import pytest
import torch
from PIL import Image
from presets import preset
from tiny_world import SIDE, make_clip, make_sets, run
from torch import Tensor

from razor_cli.contract.method import GradientPlan
from razor_cli.dual.crops import training_crops
from razor_cli.dual.gradients import batches
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip

SETS = make_sets()
HALF = (0.5, 0.5, 0.5)  # mean and deviation: what the tiny model's own transform does


def photographs(count: int = 5) -> list[Image.Image]:
    """Return smooth pictures of several shapes, so that another crop is another picture."""
    draw, found = random.Random(0), []
    for number in range(count):
        small = Image.new("RGB", (4, 4))
        small.putdata([tuple(draw.randrange(256) for _ in range(3)) for _ in range(16)])
        found.append(small.resize((40 + 7 * number, 50), Image.Resampling.BICUBIC))
    return found


def published(*, training: bool) -> Callable[[Image.Image], Tensor]:
    return open_clip.transform.image_transform(SIDE, is_train=training, mean=HALF, std=HALF)


@pytest.fixture
def eyed() -> Clip:
    """Return a tiny model that sees pictures of any size, through open_clip's evaluation transform."""
    return replace(make_clip(), transform=published(training=False))


def test_crops_are_those_of_open_clips_training_transform(eyed: Clip) -> None:
    images, train = photographs(), published(training=True)
    found = eyed.preprocess(training_crops(eyed, images, seed=3, first=10))
    for place, (image, pixels) in enumerate(zip(images, found, strict=True), 10):
        torch.manual_seed(random.Random(f"crop 3 {place}").getrandbits(63))
        torch.testing.assert_close(pixels, train(image), rtol=0, atol=1e-6)


def test_crops_follow_seed_and_place_and_leave_the_global_generator_alone(eyed: Clip) -> None:
    images = photographs()
    state = torch.get_rng_state()
    whole = [i.tobytes() for i in training_crops(eyed, images, seed=1, first=0)]
    assert torch.equal(torch.get_rng_state(), state)
    parts = [*training_crops(eyed, images[:2], seed=1, first=0), *training_crops(eyed, images[2:], 1, 2)]
    assert [i.tobytes() for i in parts] == whole, "how a set is cut into batches changes no crop"
    assert [i.tobytes() for i in training_crops(eyed, images, seed=2, first=0)] != whole
    assert training_crops(eyed, [], seed=1, first=0) == []


def test_drawn_pictures_are_the_same_in_another_order_and_another_part() -> None:
    drawn, again, other = SETS.retain.drawn(0), SETS.retain.drawn(0), SETS.retain.drawn(1)
    assert sorted(drawn.keys) == sorted(SETS.retain.keys) and drawn.keys != SETS.retain.keys
    assert drawn == again and drawn.keys != other.keys
    prints = {p.fingerprint() for p in (SETS.retain, drawn, other, replace(drawn, crops=None))}
    assert len(prints) == 4 and drawn.fingerprint() == again.fingerprint()
    assert drawn.head(4).crops == drawn.of(drawn.concepts[0]).crops == 0


def test_every_picture_of_a_drawn_set_is_cropped_whatever_the_batch(clip: Clip) -> None:
    drawn = SETS.retain.drawn(0)
    found = [torch.cat([b.pixels for b in batches(clip, drawn, size)]) for size in (4, 32)]
    assert torch.equal(*found)
    plain = clip.preprocess(replace(drawn, crops=None).load())
    assert (found[0] != plain).flatten(1).any(dim=1).float().mean() > 0.8


@pytest.mark.parametrize("base", ["slug", "slug_code"])
def test_only_the_retain_gradient_takes_the_path_of_a_training(clip: Clip, base: str) -> None:
    plan = GradientPlan(forget_batch=16, retain_batch=16)
    listed = Lab(family=clip, sets=SETS).gradients(plan)
    drawn = [Lab(family=clip, sets=SETS).gradients(replace(plan, retain_seed=s)) for s in (0, 0, 1)]
    for name in ("visual.proj", "text_projection"):
        assert all(torch.equal(d[0][name], listed[0][name]) for d in drawn), (
            "forget pictures stay as they are"
        )
        assert torch.equal(drawn[0][1][name], drawn[1][1][name])
        assert not torch.equal(drawn[0][1][name], drawn[2][1][name])
        assert not torch.equal(drawn[0][1][name], listed[1][name])
    method = preset(base, retain_path="training", search_steps=4, criterion="fa_top1")
    assert method.stochastic and not preset(base).stochastic
    zero, again, one = (run(method, clip, SETS, seed=s) for s in (0, 0, 1))
    selected = [
        [(e.component, e.cosine) for e in edit.log if e.action == "select"] for edit in (zero, again, one)
    ]
    assert selected[0] == selected[1] != selected[2]


def test_the_fast_search_agrees_with_the_published_one_on_a_trainings_path(clip: Clip) -> None:
    first, other = (
        run(preset(n, retain_path="training", search_steps=4, criterion="fa_top1"), clip, SETS)
        for n in ("slug", "slug_code")
    )
    assert first.components and first.components == other.components
    assert all(torch.equal(first.values[n], other.values[n]) for n in first.values)


def test_a_cached_gradient_of_the_list_is_not_taken_for_one_of_a_training(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    cache, model = TensorCache(tmp_path_factory.mktemp("cache")), make_clip()
    labs = [Lab(family=model, sets=SETS, cache=cache, seed=s) for s in (0, 0, 1)]
    plan = GradientPlan(forget_batch=16, retain_batch=16)
    listed = labs[0].gradients(plan)[1]["visual.proj"]
    drawn = labs[1].gradients(replace(plan, retain_seed=0))[1]["visual.proj"]
    other = labs[2].gradients(replace(plan, retain_seed=1))[1]["visual.proj"]
    assert not torch.equal(listed, drawn) and not torch.equal(drawn, other)
    assert [lab.cost.gradient_cache_hits for lab in labs] == [0, 1, 1]  # the forget gradient is shared
