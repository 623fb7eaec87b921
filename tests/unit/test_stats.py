import math

import numpy as np
import pytest

from razor_cli.metrics.stats import (
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    bootstrap_ratio,
    paired_difference,
    proportion_difference,
    resampled_means,
    unseen,
    wilson,
)


@pytest.mark.parametrize(
    ("hits", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (100, 100, 0.9630, 1.0),
    ],
)
def test_wilson_agrees_with_published_examples(hits: int, n: int, low: float, high: float) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 857, Table I, method 3."""
    found = wilson(hits, n)
    assert found.value == hits / n
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_wilson_is_symmetric_and_wider_at_a_higher_level() -> None:
    few, many = wilson(3, 17), wilson(14, 17)
    assert (few.low, few.high) == (pytest.approx(1 - many.high), pytest.approx(1 - many.low))
    assert wilson(3, 17, 0.99).low < few.low < wilson(3, 17, 0.8).low


@pytest.mark.parametrize(("hits", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(hits: int, n: int) -> None:
    with pytest.raises(ValueError, match="wilson needs"):
        wilson(hits, n)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((0, 10, 0, 20), -0.1611, 0.2775),
        ((10, 10, 0, 20), 0.6791, 1.0),
    ],
)
def test_independent_difference_agrees_with_published_examples(
    counts: tuple[int, int, int, int], low: float, high: float
) -> None:
    """Newcombe, Statistics in Medicine 17 (1998) 873, Table II, method 10."""
    found = proportion_difference(*counts)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_paired_difference_by_hand() -> None:
    # 10 pictures: 3 lost, 1 won, 6 unchanged. Centre 2 / 12, variance ((3 + 1 + 1) / 12 - (2 / 12)²) / 12.
    before, after = np.array([1, 1, 1, 0] + [1] * 6), np.array([0, 0, 0, 1] + [1] * 6)
    half = 1.959964 * math.sqrt((5 / 12 - 4 / 144) / 12)
    found = paired_difference(before, after)
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high) == (pytest.approx(2 / 12 - half), pytest.approx(2 / 12 + half))
    swapped = paired_difference(after, before)
    assert (swapped.value, swapped.low) == (pytest.approx(-0.2), pytest.approx(-found.high))


def test_paired_difference_of_equal_states_is_zero_with_a_width_that_n_decides() -> None:
    small, large = paired_difference([1] * 20, [1] * 20), paired_difference([1] * 400, [1] * 400)
    assert small.value == large.value == 0.0
    assert small.high > 0.05
    assert 0.01 > large.high > 0


def test_bootstrap_is_seeded_and_leaves_the_global_generator_alone() -> None:
    values = np.random.default_rng(3).normal(size=50)
    np.random.seed(11)
    expected = np.random.random()
    np.random.seed(11)
    first = bootstrap_mean(values, 5)
    assert np.random.random() == expected
    assert first == bootstrap_mean(values, 5)
    assert first != bootstrap_mean(values, 6)
    assert first.low < first.value < first.high


def test_bootstrap_covers_the_true_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = [
        i.low <= 1.0 <= i.high for i in (bootstrap_mean(rng.exponential(size=80), k, 400) for k in range(200))
    ]
    assert 0.87 <= np.mean(covered) <= 0.99


def test_bootstrap_of_one_value_has_no_interval_and_of_none_is_refused() -> None:
    assert bootstrap_mean([2.5], 0) == Interval(2.5, None, None, 1)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean([], 0)


@pytest.mark.parametrize(("n", "points"), [(12, 14.0), (20, 8.9), (50, 3.8), (400, 0.5)])
def test_equal_values_leave_open_what_pictures_without_a_change_do(n: int, points: float) -> None:
    """The column of docs/metrics.md: no picture changed, upper end of the drop."""
    share = unseen(n)
    assert 100 * share == pytest.approx(points, abs=0.05)
    assert paired_difference([1] * n, [1] * n).high == pytest.approx(share)
    none_changed = bootstrap_difference([0.5] * n, [0.5] * n, 0)
    assert (none_changed.low, none_changed.value, none_changed.high) == pytest.approx((-share, 0, share))
    cosine = bootstrap_mean([0.1] * n, 0, within=(-1, 1))  # each of the share anywhere from -1 to 1
    assert (cosine.low, cosine.high) == pytest.approx((0.1 - 1.1 * share, 0.1 + 0.9 * share))
    end = bootstrap_mean([0.0] * n, 0, within=(0, 4))
    assert (end.low, end.value, end.high) == (0, 0, pytest.approx(4 * share))


def test_equal_values_of_no_known_range_have_no_interval() -> None:
    assert bootstrap_mean([0.1] * 7, 0) == Interval(pytest.approx(0.1), None, None, 7)


def test_last_digits_of_a_sum_make_no_width() -> None:
    wavering = np.array([0.1, 0.1 + 1e-16, 0.1 - 2e-16] * 5)
    assert bootstrap_mean(wavering, 0, within=(0, 1)).high > 0.15
    apart = bootstrap_mean(np.array([0.1, 0.1001] * 50), 0, within=(0, 1))
    assert 0 < apart.high - apart.low < 1e-4


def test_ratio_of_pictures_that_all_agree_has_the_width_of_its_numerator() -> None:
    gone = np.ones(30)
    for back in (np.zeros(30), gone):
        found = bootstrap_ratio(back, gone, 0)
        assert found.value == back[0]
        assert (found.low, found.high) == pytest.approx((back[0] - unseen(30), back[0] + unseen(30)))
    half = np.array([1.0, 0.0] * 15)  # the fewer pictures were forgotten, the less they tell
    assert bootstrap_ratio(np.zeros(30), half, 0).high > 2 * unseen(30)


def test_bootstrap_in_chunks_draws_the_same_as_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(40.0)[None]
    whole = resampled_means(values, 1, 64)
    monkeypatch.setattr("razor_cli.metrics.stats.CELLS", 40 * 8)
    assert np.array_equal(resampled_means(values, 1, 64), whole)


def test_pairing_narrows_the_difference_of_correlated_values() -> None:
    rng = np.random.default_rng(1)
    before = rng.normal(size=200)
    after = before + rng.normal(scale=0.1, size=200)
    paired = bootstrap_difference(after, before, 0)
    apart = bootstrap_difference(after, rng.permutation(before), 0)
    assert paired.high - paired.low < (apart.high - apart.low) / 5


def test_ratio_has_no_interval_when_the_denominator_may_vanish() -> None:
    above = np.array([1.0] * 5 + [0.0] * 95)
    steady = bootstrap_ratio(above, np.ones(100), 0)
    assert steady.value == 0.05
    assert 0 <= steady.low < 0.05 < steady.high < 0.12
    assert bootstrap_ratio(above, above, 0, draws=20_000) == Interval(1.0, None, None, 100)


def test_distance_folds_the_interval_at_the_point() -> None:
    assert Interval(52.0, 45.0, 58.0, 9).distance(50) == Interval(2.0, 0.0, 8.0, 9)
    assert Interval(30.0, 20.0, 40.0, 9).distance(50) == Interval(20.0, 10.0, 30.0, 9)


def test_a_weighted_paired_difference_counts_pictures_as_what_they_are_worth() -> None:
    """One picture of a concept that weighs half cannot prove what a hundred would."""
    same = np.ones(101)
    weights = np.array([*[0.5 / 100] * 100, 0.5])  # a hundred pictures of one concept, one of another
    worth = 1 / float((weights**2).sum())
    found, plain = paired_difference(same, same, weights=weights), paired_difference(same, same)
    assert found.high is not None and plain.high is not None and 3.9 < worth < 4.1
    assert found.high == pytest.approx(1.959964 / (worth + 2), rel=1e-6) and found.high > 10 * plain.high
    after = np.array([*[1.0] * 100, 0.0])  # the other concept is lost
    lost = paired_difference(same, after, weights=weights)
    assert lost.value == pytest.approx(0.5) and lost.n == 101
    equal = paired_difference(same, after, weights=np.full(101, 1 / 101))
    assert (equal.low, equal.high) == pytest.approx(
        (paired_difference(same, after).low, paired_difference(same, after).high)
    )
