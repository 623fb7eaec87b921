"""Gradients of sets and of large batches, and what a step along them does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_world import TARGET, make_clip, make_sets
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.method import GradientPlan
from razor_cli.data.sets import Pairs
from razor_cli.dual.choices import FORGET_LOSSES
from razor_cli.dual.gradients import (
    batch_gradient,
    batches,
    cached_gradient,
    retain_loss,
    set_gradient,
    trainable,
)
from razor_cli.dual.losses import (
    forget_cosine,
    info_nce,
    pair_cosines,
)
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip

SETS = make_sets()


@pytest.fixture(scope="module")
def model(taught: Any) -> Clip:
    return make_clip(torch.float32)


def full_gradient(model: Clip, pairs: Pairs, loss: Any) -> dict[str, Tensor]:
    """Return the gradient of one loss over all pairs at once, without any of the engine's code."""
    params = {n: p for n, p in model.module.named_parameters() if n != "logit_scale"}
    pixels = model.preprocess(pairs.load()).to(next(iter(params.values())).dtype)
    images = model.encode_image(pixels)
    value = loss(images, model.encode_text(model.tokenize(pairs.captions)))
    return dict(zip(params, torch.autograd.grad(value, list(params.values())), strict=True))


def assert_close(a: dict[str, Tensor], b: dict[str, Tensor], tolerance: float) -> None:
    assert a.keys() == b.keys()
    for name, value in a.items():
        assert float((value - b[name]).norm()) <= tolerance * float(b[name].norm()) + 1e-9, name


@pytest.mark.parametrize("which", ["cosine", "info_nce"])
@pytest.mark.parametrize("chunk", [5, 16])
def test_gradient_caching_equals_the_whole_batch(which: str, chunk: int) -> None:
    """In fp64: pulls to and from each text nearly cancel in InfoNCE, so that fp32 leaves 1e-5 of the rest."""
    exact = make_clip(torch.float32)
    exact.module.double()
    loss = forget_cosine if which == "cosine" else retain_loss(20.0)
    (batch,) = batches(exact, SETS.retain, 32)
    batch = replace(batch, pixels=batch.pixels.double())
    whole = batch_gradient(exact, batch, loss)
    assert_close(cached_gradient(exact, batch, loss, chunk), whole, 1e-11)
    assert_close(whole, full_gradient(exact, SETS.retain, loss), 1e-11)


@pytest.mark.parametrize("forget_loss", FORGET_LOSSES)
def test_a_batch_in_chunks_gives_the_forget_gradient_of_the_whole(model: Clip, forget_loss: str) -> None:
    lab = Lab(family=model, sets=SETS)
    whole, _ = lab.gradients(GradientPlan(forget_loss=forget_loss))
    parts, _ = lab.gradients(GradientPlan(forget_loss=forget_loss, chunk=5))
    assert_close(parts, whole, 1e-5)


def test_concept_gradient_goes_through_both_towers(model: Clip) -> None:
    lab = Lab(family=model, sets=SETS)
    forget, _ = lab.gradients(GradientPlan(forget_loss="concept_ce"))
    prompts = [SETS.prompts[n] for n in SETS.class_names]

    def loss(images: Tensor, _: Tensor) -> Tensor:
        return F.cross_entropy(
            model.scale * images @ model.encode_text(model.tokenize(prompts)).T,
            torch.zeros(12, dtype=torch.long),
        )

    assert SETS.class_names[0] == TARGET
    whole = full_gradient(model, SETS.forget, loss)
    assert_close(forget, {n: whole[n] for n in lab.editable}, 1e-5)
    assert float(forget["transformer.resblocks.0.mlp.c_fc.weight"].norm()) > 0


def test_set_gradient_is_the_mean_of_its_batches(model: Clip) -> None:
    loss, seen = retain_loss(20.0), []
    found = set_gradient(model, SETS.retain, loss, 8, 128, seen.append)
    parts = [batch_gradient(model, b, loss) for b in batches(model, SETS.retain, 8)]
    assert_close(found, {n: torch.stack([p[n] for p in parts]).mean(0) for n in found}, 1e-6)
    assert seen == [8, 8, 8, 8]
    whole = full_gradient(model, SETS.retain, loss)
    assert any(
        not torch.allclose(found[n], whole[n], rtol=0.05) for n in found
    )  # negatives come from the batch


def test_equal_batches_give_the_exact_cosine_gradient(model: Clip) -> None:
    found = set_gradient(model, SETS.retain, forget_cosine, 8, 128, lambda _: None)
    assert_close(found, full_gradient(model, SETS.retain, forget_cosine), 1e-5)


def test_gradients_cover_all_parameters_but_the_logit_scale(model: Clip) -> None:
    assert set(trainable(model)) == set(parameters(model)) - {"logit_scale"}


def test_batches_keep_order_captions_and_leave_out_a_lonely_rest(model: Clip) -> None:
    found = list(batches(model, SETS.retain, 31))
    assert [len(b) for b in found] == [31]
    (batch,) = found
    assert len(batch.tokens) == 5  # distinct captions
    assert torch.equal(batch.tokens[batch.rows], model.tokenize(SETS.retain.captions[:31]))
    assert torch.equal(batch.pixels, model.preprocess(SETS.retain.load(0, 31)))


@pytest.mark.parametrize("component", ["visual.proj", "visual.1.head2", "text.0.mlp", "visual.2.mlp"])
def test_a_small_ascent_step_lowers_the_cosine_by_the_squared_gradient_norm(
    model: Clip, component: str
) -> None:
    every = model.components(Granularity.HEAD_MLP, Towers.BOTH, True)
    c = next(c for c in every if c.name == component)
    g = full_gradient(model, SETS.forget, forget_cosine)
    square = float(c.vector(g).double().square().sum())
    size = 2e-3 / square**0.5
    values = {p: parameters(model)[p].clone() for p in c.params}
    for view, gradient in zip(c.views(values), c.views(g), strict=True):
        view.add_(gradient, alpha=size)
    pixels, tokens = model.preprocess(SETS.forget.load()), model.tokenize(SETS.forget.captions)

    @torch.no_grad()
    def mean_cosine() -> float:
        return float(
            pair_cosines(model.encode_image(pixels).double(), model.encode_text(tokens).double()).mean()
        )

    before = mean_cosine()
    with swapped(model, values):
        after = mean_cosine()
    assert before - after == pytest.approx(size * square, rel=0.05)


def test_info_nce_gradient_descends(model: Clip) -> None:
    g = full_gradient(model, SETS.retain, retain_loss(20.0))
    pixels, tokens = model.preprocess(SETS.retain.load()), model.tokenize(SETS.retain.captions)

    @torch.no_grad()
    def loss() -> float:
        return float(info_nce(model.encode_image(pixels), model.encode_text(tokens), 20.0))

    before = loss()
    with swapped(model, {n: parameters(model)[n] - 1e-3 * v for n, v in g.items()}):
        assert loss() < before
