"""Membership inference and PrivLeak: signs, brute force, intervals that hold what they promise, and nothing
that leaks.
"""

from __future__ import annotations

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest
import tiny_world
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_worlds import EYE, crowd, evaluate, one, rows, world

from razor_cli.data.disjoint import trained_on
from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
from razor_cli.data.sampling import Sizes
from razor_cli.dual.gallery import Gallery
from razor_cli.dual.measures import Features
from razor_cli.errors import RunError
from razor_cli.families.clip.exam import ClipExam
from razor_cli.families.clip.membership import (
    SIGNALS,
    auc_interval,
    covariance,
    leak_interval,
    placements,
    signals,
)
from razor_cli.families.clip.reference import reference
from razor_cli.families.clip.settings import Metrics


def brute(members: torch.Tensor, others: torch.Tensor) -> float:
    return float(
        np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in members.tolist() for b in others.tolist()])
    )


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
    st.lists(st.integers(-3, 3), min_size=1, max_size=12),
)
def test_auc_and_placements_equal_all_pairs_counted(first: list[int], second: list[int]) -> None:
    members, others = torch.tensor(first).float(), torch.tensor(second).float()
    placed = placements(members, others)
    assert placed.auc == pytest.approx(brute(members, others))
    assert float(placed.others.mean()) == pytest.approx(placed.auc)
    assert placements(others, members).auc == pytest.approx(1 - placed.auc)
    found = auc_interval(placed)
    assert 0 <= found.low <= found.value + 1e-12 and found.value <= found.high + 1e-12 <= 1 + 1e-9


def test_variance_is_that_of_the_definition() -> None:
    g = torch.Generator().manual_seed(3)
    m, o = torch.randn(13, generator=g), torch.randn(9, generator=g) - 0.4
    wins = (m[:, None] > o[None, :]).double()
    expected = float(wins.mean(1).var() / 13 + wins.mean(0).var() / 9)
    placed = placements(m, o)
    assert covariance(placed, placed) == pytest.approx(expected)


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_intervals_hold_the_truth_as_often_as_they_say(shift: float) -> None:
    truth, oracle_truth = (NormalDist().cdf(s / 2**0.5) for s in (shift, 0.3))
    g = torch.Generator().manual_seed(int(10 * shift))
    hits = leaks = 0
    for _ in range(400):
        m, o = torch.randn(60, generator=g), torch.randn(40, generator=g)
        noise_m, noise_o = (
            0.5 * torch.randn(60, generator=g),
            0.5 * torch.randn(40, generator=g),
        )
        now = placements(m + shift, o)
        # Another signal of the same pictures, as an oracle gives.
        oracle = placements((0.75**0.5) * m + noise_m + 0.3, (0.75**0.5) * o + noise_o)
        found, leak = auc_interval(now), leak_interval(now, oracle)
        hits += found.low <= truth <= found.high
        leaks += leak.low <= truth / oracle_truth - 1 <= leak.high
    assert 0.92 <= hits / 400 <= 0.98
    assert 0.92 <= leaks / 400 <= 0.985


def test_perfect_separation_and_nothing_but_ties_still_have_a_width() -> None:
    perfect = auc_interval(placements(torch.arange(9) + 100.0, torch.arange(12.0)))
    assert perfect.value == perfect.high == 1 and 0.6 < perfect.low < 0.8
    tied = auc_interval(placements(torch.zeros(30), torch.zeros(40)))
    assert tied.value == 0.5 and tied.low < 0.4 and tied.high > 0.6


def sharp(members: torch.Tensor, forget: torch.Tensor, scale: float | None = 20.0) -> Features:
    """Return the small world with given pictures of the target: the more of axis 0, the surer the head is of
    the target.
    """
    captions, theirs = (EYE[0].repeat(len(x), 1) for x in (forget, members))
    return world(
        forget_images=forget,
        forget_captions=captions,
        member_images=members,
        member_captions=theirs,
        scale=scale,
    )


def towards(*shares: float) -> torch.Tensor:
    """Return pictures between Ann (0) and the target (1)."""
    return rows(*([s, 1 - s, 0, 0] for s in shares))


def test_every_signal_grows_with_membership() -> None:
    remembered = evaluate(sharp(towards(0.95, 0.9, 0.85), towards(0.7, 0.65, 0.6)), Metrics())
    for name in SIGNALS:
        assert one(remembered, "mia_auc", name).value == 100, (
            name
        )  # sure and right about members: a wrong sign gives 0
    avoided = evaluate(sharp(towards(0.1, 0.15, 0.2), towards(0.4, 0.3, 0.35)), Metrics())
    assert (
        one(avoided, "mia_auc", "loss").value == 0
    )  # the head is sure of Ann: loss tells members by being worse
    assert one(avoided, "mia_auc", "max_probability").value == 100


def test_signals_are_those_of_the_softmax_at_the_models_own_scale() -> None:
    f = sharp(towards(0.9, 0.3), towards(0.6, 0.5))
    p = torch.softmax(
        20 * (torch.cat([f.member_images, f.forget_images]).double() @ f.class_prompts.double().T), 1
    )
    parts = {"max_probability": p.amax(1), "entropy": (p * p.log()).sum(1), "loss": p[:, 0].log()}
    for name, values in parts.items():
        assert signals(reference(f))[name].auc == pytest.approx(brute(values[:2], values[2:])), name


def test_loss_looks_at_the_class_that_each_picture_shows() -> None:
    images = rows([5, 1, 0, 0], [1, 5, 0, 0])
    changes = {
        "forgotten": 2,
        "retain_concepts": torch.tensor([2, 2, 2, 2]),
        "forget_concepts": torch.tensor([0, 1, 0, 0]),
    }
    own = replace(sharp(images, world().forget_images), **changes, member_concepts=torch.tensor([0, 1]))
    swapped = replace(own, member_concepts=torch.tensor([1, 0]))
    assert signals(reference(own))["loss"].auc == 1
    assert signals(reference(swapped))["loss"].auc < 0.3
    with pytest.raises(ValueError, match="member_concepts must name one of the 2 forgotten classes"):
        replace(own, member_concepts=torch.tensor([0, 2]))


def test_privleak_is_zero_for_the_oracle_itself_and_positive_for_what_still_knows_its_members() -> None:
    g = torch.Generator().manual_seed(0)
    blind = sharp(
        towards(*torch.rand(40, generator=g).tolist()), towards(*torch.rand(40, generator=g).tolist())
    )
    knows = replace(blind, member_images=towards(*(0.7 + 0.3 * torch.rand(40, generator=g)).tolist()))
    avoids = replace(blind, member_images=towards(*(0.3 * torch.rand(40, generator=g)).tolist()))
    oracle = reference(blind)
    for name in SIGNALS:
        same = one(evaluate(blind, Metrics(), oracle=oracle), "privleak", name)
        assert same.value == 0 and same.ci_low is None
    leak = one(evaluate(knows, Metrics(), oracle=oracle), "privleak", "loss")
    over = one(evaluate(avoids, Metrics(), oracle=oracle), "privleak", "loss")
    assert leak.value > 20 and leak.ci_low > 0
    assert over.value < -20 and over.ci_high < 0
    auc = {
        k: one(evaluate(f, Metrics()), "mia_auc", "loss").value
        for k, f in (("now", knows), ("oracle", blind))
    }
    assert leak.value == pytest.approx(100 * (auc["now"] - auc["oracle"]) / auc["oracle"])
    assert leak.value != pytest.approx(100 * (auc["now"] - auc["oracle"]) / auc["now"])


def test_what_is_missing_is_said() -> None:
    for name in SIGNALS:
        assert "no oracle" in one(evaluate(crowd(1), Metrics()), "privleak", name).reason
        assert "saw" in one(evaluate(world(), Metrics(), oracle=reference(world())), "privleak", name).reason
    unscaled = evaluate(crowd(1), Metrics(), oracle=reference(crowd(1)))
    assert one(unscaled, "mia_auc", "own_caption").value is not None
    assert (
        "logit scale" in one(unscaled, "mia_auc", "loss").reason
        and "logit scale" in one(unscaled, "privleak", "loss").reason
    )
    lost = sharp(towards(0.1, 0.2), towards(0.8, 0.9))
    zero = one(evaluate(lost, Metrics(), oracle=reference(lost)), "privleak", "own_caption")
    assert zero.value is None and "AUC is 0" in zero.reason


def test_members_are_never_among_judged_pictures() -> None:
    sets = tiny_world.make_sets()
    with pytest.raises(RunError, match="judged as unseen"):
        Gallery(sets=sets, judged=sets.evaluation, suites=False, members=sets.evaluation.forget)
    one_shared = replace(sets.forget, pictures=(*sets.forget.pictures, sets.evaluation.forget.pictures[0]))
    with pytest.raises(RunError, match="judged as unseen"):
        ClipExam(model=tiny_world.make_clip(), sets=replace(sets, forget=one_shared))
    asked = EmbeddedRequest(
        pictures="portraits",
        target="Taylor Swift",
        domain="person",
        suites=(),
        sizes=Sizes(forget=40, evaluation_forget=40),
    )
    stand_in = embedded_sets(asked)
    assert all(trained_on(k) for k in stand_in.forget.keys)  # the base's training saw them: members
    assert not any(trained_on(k) for k in stand_in.evaluation.forget.keys)
