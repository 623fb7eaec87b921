"""Scores of components and the rules that choose among them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from presets import preset
from tiny_world import make_clip, make_sets
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, Slice, parameters
from razor_cli.contract.method import GradientPlan
from razor_cli.dual.gradients import set_gradient
from razor_cli.dual.losses import forget_cosine
from razor_cli.dual.view import Tower
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import measure, pareto_front, ratio_saliency, select, threshold
from razor_cli.families.clip.family import Clip
from razor_cli.methods.razor_loop import Loop
from razor_cli.methods.razor_pick import chosen

PART = Component("part", "head", Tower.TEXT, 0, (Slice("w", 0, 0, 1), Slice("b")))
WEIGHTS = {
    "w": torch.tensor([[3.0, 0.0], [100.0, 100.0]]),
    "b": torch.tensor([4.0]),
}  # norm 5 without the second row
FORGET = {"w": torch.tensor([[0.0, 6.0], [7.0, 7.0]]), "b": torch.tensor([8.0])}  # norm 10
RETAIN = {"w": torch.tensor([[0.0, 0.0], [9.0, 9.0]]), "b": torch.tensor([2.0])}  # norm 2, cosine 0.8
ZERO = {n: torch.zeros_like(v) for n, v in WEIGHTS.items()}


def phi(forget: dict[str, Tensor], retain: dict[str, Tensor], **changes: Any) -> float:
    given_ = {"alpha": 0.5, "epsilon": 0.0, "power": 1} | changes
    return measure([PART], WEIGHTS, forget, retain, **given_)[0].phi


def test_phi_and_its_parts_by_hand() -> None:
    (s,) = measure([PART], WEIGHTS, FORGET, RETAIN, alpha=0.5, epsilon=1.0, power=1)
    assert (s.weight_norm, s.forget_norm, s.retain_norm) == pytest.approx((5.0, 10.0, 2.0))
    assert s.cosine == pytest.approx(0.8)
    assert s.phi == pytest.approx(10 / 6 * 0.2**0.5)
    assert phi(FORGET, RETAIN, epsilon=1.0, power=2) == pytest.approx(100 / 26 * 0.2**0.5)
    assert phi(FORGET, RETAIN, alpha=1.0) == pytest.approx(2 * 0.2)
    assert phi(FORGET, {n: -v for n, v in RETAIN.items()}, alpha=1.0) == pytest.approx(2 * 1.8)


def test_cosine_above_one_by_rounding_counts_as_one() -> None:
    assert ratio_saliency(1.0, 1.0, 1 + 1e-8, alpha=0.5, epsilon=0.0, power=1) == 0.0
    assert ratio_saliency(1.0, 1.0, 1 + 1e-8, alpha=0.0, epsilon=0.0, power=1) == 1.0


def test_zero_gradients_have_cosine_zero() -> None:
    for forget, retain in ((ZERO, RETAIN), (FORGET, ZERO), (ZERO, ZERO)):
        (s,) = measure([PART], WEIGHTS, forget, retain, alpha=0.5, epsilon=1e-8, power=1)
        assert s.cosine == 0.0 and math.isfinite(s.phi)
    assert phi(FORGET, ZERO) == pytest.approx(2.0)


@pytest.fixture(scope="module")
def model(taught: Any) -> Clip:
    return make_clip(torch.float32)


@pytest.fixture(scope="module")
def gradients(model: Clip) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    return Lab(family=model, sets=make_sets()).gradients(GradientPlan())


def ranking(
    model: Clip, forget: dict[str, Tensor], retain: dict[str, Tensor], alpha: float, power: int = 1
) -> list[str]:
    components = model.components(Granularity.HEAD_MLP, Towers.BOTH)
    scored = measure(components, parameters(model), forget, retain, alpha=alpha, epsilon=0.0, power=power)
    return [s.component.name for s in sorted(scored, key=lambda s: -s.phi)]


def test_without_alpha_the_ranking_ignores_the_retain_set(model: Clip, gradients: Any) -> None:
    forget, retain = gradients
    g = torch.Generator().manual_seed(3)
    other = {n: torch.randn(v.shape, generator=g) for n, v in retain.items()}
    assert ranking(model, forget, retain, 0.0) == ranking(model, forget, other, 0.0)
    assert ranking(model, forget, retain, 0.0) == ranking(model, forget, retain, 0.0, power=2)
    mixed = {n: forget[n] + 1e-2 * forget[n].norm() * other[n] for n in forget}
    assert ranking(model, forget, retain, 1.0) != ranking(model, forget, mixed, 1.0)


@pytest.mark.parametrize("alpha", [0.25, 0.5, 1.0])
def test_the_same_set_and_loss_on_both_sides_leave_nothing_to_select(model: Clip, alpha: float) -> None:
    forget, _ = Lab(family=model, sets=make_sets()).gradients(GradientPlan())
    again = set_gradient(model, make_sets().forget, forget_cosine, 128, 128, lambda _: None)
    for s in measure(
        model.components(Granularity.HEAD_MLP, Towers.BOTH),
        parameters(model),
        forget,
        again,
        alpha=alpha,
        epsilon=1e-8,
        power=1,
    ):
        assert s.cosine == pytest.approx(1.0, abs=1e-6)
        aligned = ratio_saliency(s.weight_norm, s.forget_norm, 0.0, alpha=alpha, epsilon=1e-8, power=1)
        assert 0 <= s.phi <= aligned * 1e-6**alpha * 2


@settings(max_examples=60, deadline=None)
@given(
    st.floats(0.01, 100),
    st.floats(0.01, 100),
    st.floats(-1, 1),
    st.floats(0, 1),
    st.sampled_from([1, 2]),
    st.floats(0.1, 10),
)
def test_scale_law(weight: float, forget: float, cosine: float, alpha: float, power: int, c: float) -> None:
    def law(w: float, f: float) -> float:
        return ratio_saliency(w, f, cosine, alpha=alpha, epsilon=0.0, power=power)

    assert law(weight, c * forget) == pytest.approx(c**power * law(weight, forget))
    assert law(c * weight, forget) == pytest.approx(law(weight, forget) / c**power)
    assert law(c * weight, c * forget) == pytest.approx(law(weight, forget))


SCORES = [0.1, 0.4, 0.2, 0.8, 0.5]


@pytest.mark.parametrize(
    ("mode", "tau", "bar", "chosen"),
    [
        ("relative", 0.5, 0.4, [3, 4]),  # strictly above
        ("absolute", 0.2, 0.2, [3, 4, 1]),
        ("quantile", 0.5, 0.4, [3, 4]),
        ("zscore", 1.0, 0.4 + 0.06**0.5, [3]),
        ("topk", 3, 0.4, [3, 4, 1]),
        ("all", 0.0, -1.0, [3, 4, 1, 2, 0]),
    ],
)
def test_threshold_modes(mode: str, tau: float, bar: float, chosen: list[int]) -> None:
    assert threshold(SCORES, tau, mode) == pytest.approx(bar)
    assert select(SCORES, tau, mode, None) == chosen


@pytest.mark.parametrize("mode", ["relative", "absolute", "zscore"])
def test_an_infinite_threshold_leaves_the_single_best(mode: str) -> None:
    assert select(SCORES, math.inf, mode, 8) == [3]


def test_cap_holds_but_not_for_all() -> None:
    assert select(SCORES, 0.0, "relative", 2) == [3, 4]
    assert select(SCORES, 0.0, "all", 2) == [3, 4, 1, 2, 0]
    assert select([0.0, 0.0], 0.5, "relative", None) == [0]
    assert select([0.0, 0.0, 0.0], 0.0, "all", None) == [0, 1, 2]
    assert len(select([0.3, 0.3, 0.3], 2, "topk", 2)) == 2


def test_every_selector_names_what_it_ranks_by(clip: Clip) -> None:
    sets = make_sets()
    names = {}
    for selector in ("phi", "gradient_norm", "cosine", "random"):
        loop = Loop(
            preset("razor_paper", selector=selector, tau_mode="topk", tau=3),
            Lab(family=clip, sets=sets),
        )
        loop._gradients = loop.lab.gradients(loop.method.plan)
        scored = loop._scored(loop.components)
        names[selector] = [s.component.name for s in chosen(loop.method, scored, loop.generator)]
        key = {
            "gradient_norm": lambda s: -s.forget_norm,
            "cosine": lambda s: s.cosine,
            "phi": lambda s: -s.phi,
        }.get(selector)
        if key:
            assert names[selector] == [s.component.name for s in sorted(scored, key=key)[:3]]
    assert len(names["random"]) == 3 and names["random"] != names["phi"]


points = st.lists(st.tuples(st.integers(-6, 6), st.integers(-6, 6)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(points)
def test_pareto_front_is_never_empty_and_holds_both_extremes(cloud: list[tuple[int, int]]) -> None:
    importance, alignment = [float(p[0]) for p in cloud], [float(p[1]) for p in cloud]
    front = pareto_front(importance, alignment)
    assert front
    # Both strict: whoever has the most importance, or the least alignment, cannot be beaten.
    assert {i for i, v in enumerate(importance) if v == max(importance)} <= set(front)
    assert {i for i, a in enumerate(alignment) if a == min(alignment)} <= set(front)
    for i in range(len(cloud)):
        beaten = any(importance[j] > importance[i] and alignment[j] < alignment[i] for j in range(len(cloud)))
        assert (i in front) is not beaten


@settings(max_examples=100, deadline=None)
@given(points)
def test_pareto_front_ignores_monotone_rescaling(cloud: list[tuple[int, int]]) -> None:
    importance, alignment = [float(p[0]) for p in cloud], [float(p[1]) for p in cloud]
    scaled = pareto_front([math.exp(v / 3) for v in importance], [a**3 + 5 for a in alignment])
    assert scaled == pareto_front(importance, alignment)
