"""Distances from a retrained model and from the base, RF-JSD, and how a run gets at those models."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from metric_worlds import crowd, evaluate, one, scaled, values, world

from razor_cli.dual.measures import Features
from razor_cli.families.clip.oracle import LN2, VARIANTS, jensen_shannon
from razor_cli.families.clip.reference import reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.metrics.catalog import metric_info

DISTANCES = ("jsd", "top1_agreement", "cos")


def distributions(values: np.ndarray) -> torch.Tensor:
    weights = torch.from_numpy(values) + 1e-12
    return weights / weights.sum(dim=-1, keepdim=True)


# Divergence


@settings(deadline=None, max_examples=80)
@given(arrays(np.float64, (2, 3, 5), elements=st.floats(0, 1)))
def test_divergence_is_symmetric_and_bounded(drawn: np.ndarray) -> None:
    p, q = distributions(drawn)
    found = jensen_shannon(p, q)
    assert torch.equal(found, jensen_shannon(q, p))
    assert bool(((found >= 0) & (found <= LN2)).all())
    assert torch.equal(jensen_shannon(p, p), torch.zeros(3, dtype=torch.float64))


def test_divergence_by_hand_in_nats() -> None:
    one_hot = torch.eye(3, dtype=torch.float64)
    assert jensen_shannon(one_hot[0], one_hot[1]).item() == pytest.approx(math.log(2))
    half = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    expected = 0.5 * (math.log(1 / 0.75)) + 0.5 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25))
    assert jensen_shannon(one_hot[0], half).item() == pytest.approx(expected)


# Scores


def test_identical_models_are_at_no_distance() -> None:
    f = scaled(1)
    scores = evaluate(f, Metrics(), base=reference(f), oracle=reference(f), from_base=True)
    for name in ("oracle", "base"):
        for variant in VARIANTS:
            assert one(scores, f"{name}_jsd", variant).value == 0 == one(scores, f"{name}_cos", variant).value
            assert one(scores, f"{name}_top1_agreement", variant).value == 100
            assert one(scores, f"{name}_top1_agreement", variant).ci_low < 95  # thirty pictures prove little


def test_distances_are_those_of_their_pictures_and_columns() -> None:
    now, other = scaled(2), replace(scaled(3), scale=5.0)
    scores = evaluate(now, Metrics(), oracle=reference(other))
    own = now.retain_concepts >= 0
    for variant, skip in (("forget", 0), ("forget_without_target", 1), ("retain", 0)):
        both = []
        for f in (now, other):
            images = f.retain_images[own] if variant == "retain" else f.forget_images
            both.append(images.double() @ f.class_prompts.double().T)
        mine, theirs = (c[:, skip:] for c in both)
        p, q = torch.softmax(8 * mine, 1), torch.softmax(5 * theirs, 1)
        m = (p + q) / 2
        jsd = 0.5 * ((p * (p / m).log()).sum(1) + (q * (q / m).log()).sum(1))
        assert one(scores, "oracle_jsd", variant).value == pytest.approx(float(jsd.mean()), rel=1e-4), variant
        agree = 100 * float((mine.argmax(1) == theirs.argmax(1)).double().mean())
        assert one(scores, "oracle_top1_agreement", variant).value == pytest.approx(agree)
        assert one(scores, "oracle_cos", variant).value == pytest.approx(
            100 * float((mine - theirs).abs().mean()), rel=1e-4
        )
        assert (
            one(scores, "oracle_jsd", variant).ci_low
            < float(jsd.mean())
            < one(scores, "oracle_jsd", variant).ci_high
        )


def only_target_moved(f: Features, forgotten: int = 1) -> Features:
    """Return the same features with the prompts of the forgotten classes alone elsewhere."""
    prompts = f.class_prompts.clone()
    prompts[:forgotten] = torch.nn.functional.normalize(
        prompts[:forgotten] - 3 * f.forget_images.mean(0), dim=-1
    )
    return replace(f, class_prompts=prompts)


@pytest.mark.parametrize("forgotten", [1, 2])
def test_without_the_target_nothing_is_left_when_only_its_prompts_moved(forgotten: int) -> None:
    f = scaled(4)
    concepts = f.retain_concepts.clone()
    concepts[concepts == 1] = 2
    f = replace(f, forgotten=forgotten, retain_concepts=concepts)
    scores = evaluate(only_target_moved(f, forgotten), Metrics(), oracle=reference(f))
    assert one(scores, "oracle_jsd", "forget").value > 0.01
    assert (
        one(scores, "oracle_jsd", "forget_without_target").value == 0
    )  # any other column left out would show
    assert one(scores, "oracle_top1_agreement", "forget_without_target").value == 100


def test_distances_from_oracle_and_base_are_not_mixed_up() -> None:
    now, base, oracle = scaled(5), scaled(6), scaled(5, 9.0)
    scores = evaluate(now, Metrics(), base=reference(base), oracle=reference(oracle), from_base=True)
    assert (
        one(scores, "oracle_cos", "forget").value == 0 < one(scores, "oracle_jsd", "forget").value
    )  # its own scale counts
    assert one(scores, "base_cos", "forget").value > 5
    assert not [m for m, _ in values(evaluate(now, Metrics(), base=reference(base))) if m.startswith("base_")]


def test_what_is_missing_is_said() -> None:
    alone = evaluate(scaled(7), Metrics())
    for metric in DISTANCES:
        assert one(alone, f"oracle_{metric}", "retain").reason.startswith("not computed: no oracle")
    assert "unedited model" in one(alone, "rf_jsd", "class_mean").reason
    f = crowd(7)
    assert "logit scale" in one(evaluate(f, Metrics(), oracle=reference(f)), "oracle_jsd", "forget").reason
    w = world(scale=8.0)
    assert "saw" in one(evaluate(w, Metrics(), base=reference(w)), "rf_jsd", "class_mean").reason
    few = replace(
        scaled(7),
        class_names=("a", "b"),
        class_prompts=crowd(7).class_prompts[:2],
        retain_concepts=torch.ones(40).long(),
    )
    found = evaluate(few, Metrics(), oracle=reference(few))
    assert "fewer than two classes" in one(found, "oracle_jsd", "forget_without_target").reason
    assert one(found, "oracle_jsd", "forget").value == 0
    foreign = replace(scaled(7), retain_concepts=torch.full((40,), -1))
    assert (
        "no retain picture"
        in one(evaluate(foreign, Metrics(), oracle=reference(foreign)), "oracle_jsd", "retain").reason
    )


def test_every_new_score_is_described_and_inside_its_interval() -> None:
    scores = evaluate(
        scaled(8), Metrics(), base=reference(scaled(9)), oracle=reference(scaled(10)), from_base=True
    )
    assert len({(s.metric, s.variant) for s in scores}) == len(scores)
    for s in scores:
        assert metric_info(s.metric).direction == s.direction
        assert s.value is None or (
            math.isfinite(s.value) and (s.ci_low is None or s.ci_low <= s.value <= s.ci_high)
        ), s


def test_retrain_free_divergence_compares_seen_pictures_of_now_with_unseen_ones_of_the_base() -> None:
    now, base = scaled(11), replace(scaled(12), scale=5.0)
    p = torch.softmax(8 * (now.member_images.double() @ now.class_prompts.double().T), 1).mean(0)
    q = torch.softmax(5 * (base.forget_images.double() @ base.class_prompts.double().T), 1).mean(0)
    found = one(evaluate(now, Metrics(), base=reference(base)), "rf_jsd", "class_mean")
    assert found.value == pytest.approx(float(jensen_shannon(p, q)), rel=1e-4)
    assert found.ci_low <= found.value <= found.ci_high <= LN2
    again = one(evaluate(now, Metrics(), base=reference(base)), "rf_jsd", "class_mean")
    assert (again.ci_low, again.ci_high) == (found.ci_low, found.ci_high)


def test_retrain_free_divergence_is_the_mean_over_classes_not_over_pictures() -> None:
    f = scaled(13)
    concepts = torch.where(f.retain_concepts == 1, 2, f.retain_concepts)
    joint = replace(
        f,
        forgotten=2,
        retain_concepts=concepts,
        member_concepts=torch.tensor([0] * 7 + [1] * 2),
        forget_concepts=torch.tensor([0] * 10 + [1] * 20),
    )
    p = torch.softmax(8 * (f.member_images.double() @ f.class_prompts.double().T), 1)
    q = torch.softmax(8 * (f.forget_images.double() @ f.class_prompts.double().T), 1)
    each = [jensen_shannon(p[:7].mean(0), q[:10].mean(0)), jensen_shannon(p[7:].mean(0), q[10:].mean(0))]
    found = one(evaluate(joint, Metrics(), base=reference(joint)), "rf_jsd", "class_mean")
    assert found.value == pytest.approx(float(sum(each) / 2), rel=1e-4)
