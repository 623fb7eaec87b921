"""The losses of Tan & Gong's methods: signs, limits, directions and masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.dual.losses_tracing import (
    FineMask,
    KlReduction,
    NpoReduction,
    cross_entropy,
    fine_kl,
    kept_columns,
    negated,
    negative_hinge,
    npo,
    random_labels,
    reference_kl,
    uniform_kl,
)

N, C = 6, 5
LABELS = torch.tensor([0, 1, 0, 1, 0, 0])  # classes 0 and 1 go


def logits(seed: int, scale: float = 3.0) -> Tensor:
    return scale * torch.randn(N, C, generator=torch.Generator().manual_seed(seed), dtype=torch.float32)


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    at = at.clone().requires_grad_()
    return torch.autograd.grad(loss(at), at)[0]


def ascent(at: Tensor) -> Tensor:
    return gradient(lambda z: -cross_entropy(z, LABELS), at)


@pytest.mark.parametrize("reduction", list(KlReduction))
@pytest.mark.parametrize("mask", list(FineMask))
def test_kl_terms_and_their_gradients_vanish_at_the_reference(reduction: KlReduction, mask: FineMask) -> None:
    at = logits(0)
    fine = {"forgotten": 2, "mask": mask, "reduction": reduction}
    for loss in (lambda z: reference_kl(z, at, reduction), lambda z: fine_kl(z, at, LABELS, **fine)):
        assert loss(at).item() == pytest.approx(0, abs=1e-7)
        assert gradient(loss, at).abs().max() < 1e-7
        assert loss(logits(1)).item() > 0.01


def test_kl_is_from_the_reference_to_the_current_model_and_numel_divides_by_the_classes_too() -> None:
    now, reference = logits(1), logits(2)
    p, q = reference.softmax(-1), now.softmax(-1)
    by_hand = (p * (p.log() - q.log())).sum()
    other_way = (q * (q.log() - p.log())).sum()
    assert abs(by_hand - other_way) > 0.1
    assert reference_kl(now, reference, KlReduction.BATCHMEAN).item() == pytest.approx(
        by_hand.item() / N, rel=1e-5
    )
    assert reference_kl(now, reference, KlReduction.NUMEL).item() == pytest.approx(
        by_hand.item() / (N * C), rel=1e-5
    )


def test_kl_gives_the_reference_no_gradient() -> None:
    reference = logits(2).requires_grad_()
    now = logits(1).requires_grad_()
    reference_kl(now, reference, KlReduction.NUMEL).backward()
    assert reference.grad is None and now.grad is not None


def test_fine_kl_leaves_out_the_own_class_or_all_that_go() -> None:
    assert kept_columns(LABELS[:2], C, 2, FineMask.OWN_LABEL).tolist() == [[1, 2, 3, 4], [0, 2, 3, 4]]
    assert kept_columns(LABELS[:2], C, 2, FineMask.FORGET_CLASSES).tolist() == [[2, 3, 4], [2, 3, 4]]
    reference = logits(3)
    own, both = reference.clone(), reference.clone()
    own[torch.arange(N), LABELS] += 7.0  # each picture's own class moves: neither mask sees it
    both[:, :2] += torch.randn(
        N, 2, generator=torch.Generator().manual_seed(9)
    )  # the other forgotten class moves too

    def loss(z: Tensor, mask: FineMask) -> float:
        return fine_kl(z, reference, LABELS, forgotten=2, mask=mask, reduction=KlReduction.BATCHMEAN).item()

    assert loss(own, FineMask.OWN_LABEL) == pytest.approx(0, abs=1e-6)
    assert loss(both, FineMask.FORGET_CLASSES) == pytest.approx(0, abs=1e-6)
    assert loss(both, FineMask.OWN_LABEL) > 0.01


def test_fine_kl_of_one_forgotten_class_is_the_same_under_both_masks() -> None:
    labels, now, reference = torch.zeros(N, dtype=torch.long), logits(1), logits(2)
    found = [
        fine_kl(now, reference, labels, forgotten=1, mask=m, reduction=KlReduction.NUMEL).item()
        for m in FineMask
    ]
    assert found[0] == found[1] > 0
    renormalised = F.kl_div(now[:, 1:].log_softmax(-1), reference[:, 1:].softmax(-1), reduction="sum").item()
    assert found[0] == pytest.approx(renormalised / (N * (C - 1)), rel=1e-5)


@pytest.mark.parametrize("reduction", list(NpoReduction))
def test_first_npo_step_is_gradient_ascent(reduction: NpoReduction) -> None:
    at = logits(4)
    found = gradient(lambda z: npo(z, at, LABELS, beta=0.5, reduction=reduction), at)
    assert torch.allclose(found, ascent(at), atol=1e-6)
    assert ascent(at).abs().max() > 0.01


@pytest.mark.parametrize("reduction", list(NpoReduction))
def test_npo_with_vanishing_beta_is_gradient_ascent_anywhere(reduction: NpoReduction) -> None:
    at, reference = logits(5), logits(6)
    small, large = (
        gradient(lambda z, b=b: npo(z, reference, LABELS, beta=b, reduction=reduction), at)
        for b in (1e-4, 2.0)
    )
    assert torch.allclose(small, ascent(at), rtol=1e-2, atol=1e-5)
    assert not torch.allclose(large, ascent(at), rtol=1e-2, atol=1e-3)


def test_npo_gradient_weight_is_the_stated_one_and_fades_as_forgetting_proceeds() -> None:
    reference = torch.zeros(N, C)
    shares = []
    for drop in (0.0, 2.0, 5.0, 20.0):
        at = reference.clone()
        at[torch.arange(N), LABELS] -= drop
        gap = cross_entropy(at, LABELS) - cross_entropy(reference, LABELS)
        found = gradient(lambda z: npo(z, reference, LABELS, beta=0.5, reduction=NpoReduction.SAMPLE), at)
        share = (found.norm() / ascent(at).norm()).item()
        assert share == pytest.approx(2 * torch.sigmoid(-0.5 * gap).item(), rel=1e-4)
        shares.append(share)
    assert shares[0] == pytest.approx(1) and shares == sorted(shares, reverse=True) and shares[-1] < 1e-3


def test_npo_per_picture_and_per_batch_differ_when_pictures_are_forgotten_unevenly() -> None:
    now, reference = logits(7), logits(8)
    one, other = (npo(now, reference, LABELS, beta=0.5, reduction=r).item() for r in NpoReduction)
    assert abs(one - other) > 0.1
    assert one > other  # -log sigmoid is convex (Jensen)


def test_npo_is_lower_when_more_is_forgotten() -> None:
    reference, now = logits(1), logits(1)
    now[torch.arange(N), LABELS] -= 3
    assert npo(now, reference, LABELS, beta=0.4, reduction=NpoReduction.SAMPLE) < 2 / 0.4 * math.log(2) - 0.5


def test_negative_hinge_is_exactly_zero_beyond_the_margin() -> None:
    at = torch.zeros(N, C)
    at[:, 4] = 2.0  # the best rival leads by the margin
    assert negative_hinge(at, LABELS, 2.0).item() == 0
    assert (gradient(lambda z: negative_hinge(z, LABELS, 2.0), at) == 0).all()
    assert negative_hinge(at, LABELS, 2.5).item() == pytest.approx(0.5)


def test_negative_hinge_lowers_the_own_logit_and_raises_the_best_rival() -> None:
    at = torch.tensor([[3.0, 1.0, 2.0]])
    found = gradient(lambda z: negative_hinge(z, torch.tensor([0]), 2.0), at)
    assert found.tolist() == [[1.0, 0.0, -1.0]]
    assert negative_hinge(at, torch.tensor([0]), 2.0).item() == 3.0


def test_negative_hinge_without_margin_ignores_misclassified_pictures() -> None:
    at = torch.tensor([[1.0, 2.0], [2.0, 1.0]])
    found = gradient(lambda z: negative_hinge(z, torch.tensor([0, 0]), 0.0), at)
    assert (found[0] == 0).all() and (found[1] != 0).all()


def test_negative_hinge_masks_the_own_class_by_minus_infinity() -> None:
    at = torch.tensor(
        [[-1.0, -3.0, -2.0]]
    )  # multiplying by 0 would take 0 for the best rival and find nothing to do
    assert negative_hinge(at, torch.tensor([0]), 0.5).item() == pytest.approx(1.5)


def test_uniform_kl_is_least_exactly_at_the_uniform_distribution() -> None:
    flat = torch.full((N, C), 1.7)
    assert uniform_kl(flat).item() == pytest.approx(0, abs=1e-5)
    assert gradient(uniform_kl, flat).abs().max() < 1e-7
    for seed in range(5):
        assert uniform_kl(flat + logits(seed, 0.1)).item() > uniform_kl(flat).item()


def test_uniform_kl_is_the_batch_mean_and_descent_raises_entropy() -> None:
    at = logits(2)
    by_hand = (-(at.log_softmax(-1)).mean(-1) - math.log(C)).mean().item()
    assert uniform_kl(at).item() == pytest.approx(by_hand, rel=1e-3)

    def entropy(z: Tensor) -> float:
        return -(z.softmax(-1) * z.log_softmax(-1)).sum(-1).mean().item()

    start, now = entropy(at), at
    for _ in range(400):
        now = now - 2.0 * gradient(uniform_kl, now)
    assert start < 0.8 * math.log(C) < entropy(now)
    assert entropy(now) == pytest.approx(math.log(C), abs=0.02)


def test_random_labels_are_never_the_own_unless_allowed_and_all_others_occur() -> None:
    labels = torch.arange(C).repeat(200)
    drawn = random_labels(labels, C, exclude_true=True, generator=torch.Generator().manual_seed(0))
    assert not (drawn == labels).any()
    assert all(set(drawn[labels == c].tolist()) == set(range(C)) - {c} for c in range(C))
    anything = random_labels(labels, C, exclude_true=False, generator=torch.Generator().manual_seed(0))
    assert 0.1 < (anything == labels).float().mean() < 0.3
    with pytest.raises(ValueError, match="two classes"):
        random_labels(torch.zeros(3, dtype=torch.long), 1, exclude_true=True, generator=torch.Generator())


def test_task_vector_is_linear_in_alpha_and_exact_at_both_ends() -> None:
    base, tuned = logits(1), logits(2)
    assert torch.equal(negated(base, tuned, 0.0), base)
    assert torch.equal(negated(base, tuned, -1.0), tuned)
    assert torch.allclose(negated(base, tuned, 1.5) - base, -1.5 * (tuned - base), atol=1e-5)
    assert torch.allclose(negated(base, tuned, 2.0) - base, 2 * (negated(base, tuned, 1.0) - base), atol=1e-5)
    numbers = torch.arange(4)
    assert torch.equal(negated(numbers, numbers + 1, 1.5), numbers)


def test_losses_are_computed_in_single_precision() -> None:
    half, reference = (100 * logits(1)).half(), (100 * logits(2)).half()
    found = [
        cross_entropy(half, LABELS),
        reference_kl(half, reference, KlReduction.NUMEL),
        npo(half, reference, LABELS, beta=0.5, reduction=NpoReduction.SAMPLE),
        negative_hinge(half, LABELS, 2.0),
        uniform_kl(half),
    ]
    assert all(f.dtype is torch.float32 and bool(torch.isfinite(f)) for f in found)
