"""Losses of a pair of towers, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.dual.losses import (
    concept_cross_entropy,
    concept_margin,
    concept_neutral,
    concept_runner_up,
    concept_uniform,
    forget_cosine,
    info_nce,
    mismatch,
    pair_cosines,
)


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


def test_targets_of_equation_12_are_the_second_class_or_the_prompt_of_nobody() -> None:
    image = rows([1.0, 0.0])
    prompts = rows([1.0, 0.0], [4.0, 3.0], [0.0, 1.0])  # cosines 1, 0.8, 0
    total = math.log(math.exp(2.0) + math.exp(1.6) + 1)
    assert float(concept_runner_up(image, prompts, 0, 2.0)) == pytest.approx(1.6 - total, rel=1e-5)
    assert float(concept_runner_up(image, prompts, 2, 2.0)) == pytest.approx(2.0 - total, rel=1e-5)
    assert float(concept_runner_up(image, prompts, 0, 2.0, 2)) == pytest.approx(0.0 - total, rel=1e-5)
    assert float(concept_neutral(image, prompts, 0, 2.0)) == pytest.approx(0.0 - total, rel=1e-5)


@pytest.mark.parametrize(("form", "value"), [("signed", -0.05), ("squared", 0.025), ("abs", 0.15)])
def test_mismatch_forms_by_hand(form: str, value: float) -> None:
    assert float(mismatch(torch.tensor([0.5, 0.4]), torch.tensor([0.7, 0.3]), form)) == pytest.approx(value)


@pytest.mark.parametrize(("form", "slope"), [("signed", 0.5), ("squared", 0.0), ("abs", 0.0)])
def test_mismatch_at_the_frozen_model(form: str, slope: float) -> None:
    now = torch.tensor([0.5, 0.4], requires_grad=True)
    (gradient,) = torch.autograd.grad(mismatch(now, now.detach(), form), now)
    assert gradient.tolist() == [slope, slope]
