"""Losses by hand, gradients of sets and of large batches, and the replay of a tower's tail."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from tiny_world import TARGET, bits, make_clip, make_sets
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.method import GradientPlan
from razor_cli.data.sets import Pairs
from razor_cli.dual.gradients import (
    batch_gradient,
    batches,
    cached_gradient,
    retain_loss,
    set_gradient,
    trainable,
)
from razor_cli.dual.losses import (
    concept_cross_entropy,
    concept_margin,
    concept_uniform,
    forget_cosine,
    info_nce,
    mismatch,
    pair_cosines,
)
from razor_cli.dual.replay import run_prefix, run_suffix
from razor_cli.dual.view import Tower
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.family import Clip

SETS = make_sets()


@pytest.fixture(scope="module")
def model(taught: Any) -> Clip:
    return make_clip(torch.float32)


def rows(*vectors: list[float]) -> Tensor:
    return F.normalize(torch.tensor(vectors), dim=-1)


IMAGES, TEXTS = rows([1.0, 0.0], [3.0, 4.0]), rows([4.0, 3.0], [0.0, 1.0])  # cosines: 0.8 0.0 / 0.96 0.8


def test_cosines_and_forget_loss_by_hand() -> None:
    assert pair_cosines(IMAGES, TEXTS).tolist() == pytest.approx([0.8, 0.8])
    assert float(forget_cosine(IMAGES, TEXTS)) == pytest.approx(0.2)
    assert float(forget_cosine(IMAGES, IMAGES)) == pytest.approx(0.0, abs=1e-6)
    assert float(forget_cosine(IMAGES, -IMAGES)) == pytest.approx(2.0)


def test_info_nce_by_hand() -> None:
    kappa = 5.0
    to_text = [
        -math.log(math.exp(4) / (math.exp(4) + 1)),
        -math.log(math.exp(4) / (math.exp(4.8) + math.exp(4))),
    ]
    to_image = [
        -math.log(math.exp(4) / (math.exp(4) + math.exp(4.8))),
        -math.log(math.exp(4) / (1 + math.exp(4))),
    ]
    assert float(info_nce(IMAGES, TEXTS, kappa)) == pytest.approx(sum(to_text + to_image) / 4, rel=1e-5)


def test_info_nce_is_symmetric_and_its_scale_is_the_inverse_temperature() -> None:
    g = torch.Generator().manual_seed(0)
    a, b = (F.normalize(torch.randn(6, 4, generator=g), dim=-1) for _ in range(2))
    assert torch.allclose(info_nce(a, b, 7.0), info_nce(b, a, 7.0))
    order = torch.randperm(6, generator=g)
    assert torch.allclose(info_nce(a[order], b[order], 7.0), info_nce(a, b, 7.0))
    assert float(info_nce(a, b, 0.0)) == pytest.approx(math.log(6))
    assert float(info_nce(a, a, 1000.0)) == pytest.approx(0.0, abs=1e-4)
    assert torch.allclose(info_nce(a * 2, b, 3.5), info_nce(a, b, 7.0))
    assert not torch.allclose(info_nce(a, b, 3.5), info_nce(a, b, 7.0))


def test_concept_cross_entropy_is_that_of_the_target() -> None:
    prompts = rows([1.0, 0.0], [0.0, 1.0])
    logits = [(2.0, 0.0), (1.2, 1.6)]
    for target in (0, 1):
        expected = sum(math.log(math.exp(x) + math.exp(y)) - (x, y)[target] for x, y in logits) / 2
        assert float(concept_cross_entropy(IMAGES, prompts, target, 2.0)) == pytest.approx(expected, rel=1e-5)


def test_concept_uniform_is_highest_when_the_others_are_alike_and_does_not_fade() -> None:
    prompts = rows([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    image = rows([1.0, 0.2, 0.2])
    logits = (image @ prompts.T)[0] * 2.0
    expected = float(logits[1:].mean() - logits.logsumexp(0))
    assert float(concept_uniform(image, prompts, 0, 2.0)) == pytest.approx(expected, rel=1e-5)
    away, lopsided = rows([0.0, 1.0, 1.0]), rows([0.0, 1.0, 0.0])
    assert concept_uniform(away, prompts, 0, 2.0) > concept_uniform(image, prompts, 0, 2.0)
    assert concept_uniform(away, prompts, 0, 2.0) > concept_uniform(lopsided, prompts, 0, 2.0)
    sure = rows([1.0, 0.0, 0.0]).requires_grad_()
    slopes = [
        torch.autograd.grad(f(sure, prompts, 0, 100.0), sure)[0].norm()
        for f in (concept_uniform, concept_cross_entropy)
    ]
    assert slopes[0] > 50 and slopes[1] < 1e-6


def test_concept_margin_is_that_of_logits_and_lowers_the_target_once_it_has_lost() -> None:
    prompts = rows([1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])
    image = rows([0.6, 0.64, 0.48])
    assert float(concept_margin(image, prompts, 0, 2.0)) == pytest.approx(
        2 * ((0.64 + 0.48) / 2 - 0.6), rel=1e-5
    )
    assert float(concept_margin(image, prompts, 2, 2.0)) == pytest.approx(
        2 * ((0.6 + 0.64) / 2 - 0.48), rel=1e-5
    )
    lost = rows([0.3, 0.9, 0.1]).requires_grad_()

    def along_target(loss: Any) -> float:
        return float(torch.autograd.grad(loss(lost, prompts, 0, 100.0), lost)[0][0, 0])

    assert along_target(concept_margin) == pytest.approx(-100.0)  # ascended, the target's logit falls
    assert abs(along_target(concept_uniform)) < 1e-6  # its work is done, as far as the target goes


@pytest.mark.parametrize(("form", "value"), [("signed", -0.05), ("squared", 0.025), ("abs", 0.15)])
def test_mismatch_forms_by_hand(form: str, value: float) -> None:
    assert float(mismatch(torch.tensor([0.5, 0.4]), torch.tensor([0.7, 0.3]), form)) == pytest.approx(value)


@pytest.mark.parametrize(("form", "slope"), [("signed", 0.5), ("squared", 0.0), ("abs", 0.0)])
def test_mismatch_at_the_frozen_model(form: str, slope: float) -> None:
    now = torch.tensor([0.5, 0.4], requires_grad=True)
    (gradient,) = torch.autograd.grad(mismatch(now, now.detach(), form), now)
    assert gradient.tolist() == [slope, slope]


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


@pytest.mark.parametrize("forget_loss", ["cosine", "concept_ce", "concept_uniform", "concept_margin"])
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


DEPTHS = [(Tower.VISION, layer) for layer in (1, 2, 3)] + [(Tower.TEXT, layer) for layer in (1, 2)]


def inputs_of(model: Clip, tower: Tower) -> Tensor:
    if tower is Tower.VISION:
        return model.preprocess(SETS.retain.load(0, 6))
    return model.tokenize(list(SETS.prompts.values()))


@torch.no_grad()
@pytest.mark.parametrize(("tower", "layer"), DEPTHS)
def test_replay_equals_the_full_forward_to_the_bit(model: Clip, tower: Tower, layer: int) -> None:
    inputs = inputs_of(model, tower)
    encode = model.encode_image if tower is Tower.VISION else model.encode_text
    saved = run_prefix(model, tower, inputs, layer)
    assert torch.equal(run_suffix(model, tower, inputs, layer, saved), encode(inputs))
    values = {
        n: v * 1.2
        for n, v in parameters(model).items()
        if n.startswith(model.layouts[tower is Tower.TEXT].block(1))
    }
    if layer <= 1:  # the prefix holds for whatever changes from its block on
        with swapped(model, values):
            assert torch.equal(run_suffix(model, tower, inputs, layer, saved), encode(inputs))
            assert not torch.equal(
                run_suffix(model, tower, inputs, layer, saved),
                run_suffix(model, tower, inputs, layer, saved * 2),
            )


@torch.no_grad()
@pytest.mark.parametrize(("tower", "layer"), DEPTHS)
def test_replay_puts_the_modules_back_even_after_a_failure(
    model: Clip, tower: Tower, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = inputs_of(model, tower)
    before, original = bits(model), [type(b).forward for b in model.blocks(tower)]
    saved = run_prefix(model, tower, inputs, layer)
    run_suffix(model, tower, inputs, layer, saved)
    with monkeypatch.context() as patch:
        patch.setattr(model, "image_features" if tower is Tower.VISION else "text_features", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run_suffix(model, tower, inputs, layer, saved)
        with pytest.raises(ZeroDivisionError):
            run_prefix(model, tower, inputs, layer)
    assert [type(b).forward for b in model.blocks(tower)] == original
    assert not any("forward" in vars(b) or b._forward_hooks for b in model.blocks(tower))
    assert bits(model) == before


@torch.no_grad()
def test_replay_computes_only_the_tail(model: Clip) -> None:
    inputs, calls = inputs_of(model, Tower.VISION), []
    saved = run_prefix(model, Tower.VISION, inputs, 2)
    handles = [
        b.mlp.register_forward_hook(lambda *_, i=i: calls.append(i))
        for i, b in enumerate(model.blocks(Tower.VISION))
    ]
    run_suffix(model, Tower.VISION, inputs, 2, saved)
    assert calls == [2]
    calls.clear()
    run_prefix(model, Tower.VISION, inputs, 2)
    assert calls == [0, 1]
    for handle in handles:
        handle.remove()
