"""Confidence intervals of proportions, means and paired differences. NumPy only; every random
draw is seeded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

SAME = 1e-12  # share of their range within which values count as equal: sums of floats differ by less
CELLS = 4_000_000  # picture indices drawn at a time, which bounds the memory of a bootstrap to some 50 MB


@dataclass(frozen=True)
class Interval:
    """A value, the bounds of its interval, and how many observations it rests on.

    `low` and `high` are None when the observations (n < 2) say nothing about their spread.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def scaled(self, factor: float) -> Interval:
        """Return the interval in another unit; `factor` must be positive."""
        if self.low is None or self.high is None:
            return Interval(self.value * factor, None, None, self.n)
        return Interval(self.value * factor, self.low * factor, self.high * factor, self.n)

    @classmethod
    def exactly(cls, value: float, n: int) -> Interval:
        """Return a number that no picture leaves open, such as the change of a state since itself."""
        return cls(value, value, value, n)

    def distance(self, point: float) -> Interval:
        """Return the interval of |value - point|: it starts at 0 when the point lies inside."""
        if self.low is None or self.high is None:
            return Interval(abs(self.value - point), None, None, self.n)
        ends = abs(self.low - point), abs(self.high - point)
        return Interval(
            abs(self.value - point), 0.0 if self.low <= point <= self.high else min(ends), max(ends), self.n
        )


def wilson(hits: float, n: float, level: float = 0.95) -> Interval:
    """Return the proportion hits / n with its score interval (Wilson, JASA 1927), all in [0, 1].

    Never of zero width: 100 of 100 gives 0.963 … 1. `hits` may be fractional (a tie counts half), and so may
    `n` (an effective number of observations).
    """
    if not 0 <= hits <= n or n <= 0:
        raise ValueError(f"wilson needs 0 <= hits <= n and n > 0, got hits={hits}, n={n}")
    z, share = _z(level), hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return Interval(share, 0.0 if hits == 0 else low, 1.0 if hits == n else high, round(n))


def proportion_difference(
    hits: float, n: float, other_hits: float, other_n: float, level: float = 0.95
) -> Interval:
    """Return hits / n - other_hits / other_n of two independent samples (Newcombe, Stat. Med. 1998, method
    10).

    For the same pictures in two states `paired_difference` is right and far narrower.
    """
    a, b = wilson(hits, n, level), wilson(other_hits, other_n, level)
    assert (
        a.low is not None and a.high is not None and b.low is not None and b.high is not None
    )  # wilson always has bounds
    value = a.value - b.value
    low = value - math.hypot(a.value - a.low, b.high - b.value)
    high = value + math.hypot(a.high - a.value, b.value - b.low)
    return Interval(value, max(-1.0, low), min(1.0, high), min(a.n, b.n))


def paired_difference(
    first: ArrayLike, second: ArrayLike, level: float = 0.95, *, weights: ArrayLike | None = None
) -> Interval:
    """Return the mean of first - second over the same pictures, each value in [0, 1].

    The interval is that of matched proportions with one half added to each of the four cells (Agresti & Min,
    Stat. Med. 2005), written for fractional values too. It is never of zero width: no change on 400 pictures
    gives ±0.005.

    With `weights`, which add up to 1, the mean is theirs, and the pictures count as their effective number,
    1 / sum of squared weights (Kish 1965).
    """
    change = _vector(first) - _vector(second)
    n = len(change)
    if n == 0:
        raise ValueError("a paired difference needs at least one picture")
    shares = np.full(n, 1 / n) if weights is None else _vector(weights)
    worth, value = 1 / float((shares**2).sum()), float(shares @ change)
    centre = worth * value / (worth + 2)
    variance = (worth * float(shares @ change**2) + 1) / (worth + 2) - centre**2
    half = _z(level) * math.sqrt(variance / (worth + 2))
    return Interval(value, min(value, max(-1.0, centre - half)), max(value, min(1.0, centre + half)), n)


def bootstrap_mean(
    values: ArrayLike,
    seed: int,
    draws: int = 2000,
    level: float = 0.95,
    *,
    within: tuple[float, float] | None = None,
) -> Interval:
    """Return the mean with its percentile bootstrap interval (Efron 1979); one value has no interval.

    Of equal values a bootstrap has no width, whatever their number: it cannot see what the sample does not
    show. Their interval is that of `undiffering`, for values that lie `within` a range; else there is none.
    """
    sample = _vector(values)
    if len(sample) == 0:
        raise ValueError("a mean needs at least one value")
    value = float(sample.mean())
    if len(sample) < 2:
        return Interval(value, None, None, len(sample))
    if are_equal(sample, within):
        return undiffering(value, len(sample), within, level)
    return _percentiles(value, resampled_means(sample[None], seed, draws)[0], level, len(sample))


def bootstrap_difference(
    first: ArrayLike, second: ArrayLike, seed: int, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Return the mean of first - second, each in [0, 1], with a bootstrap over pictures: both values of a
    picture are drawn together.
    """
    return bootstrap_mean(_vector(first) - _vector(second), seed, draws, level, within=(-1, 1))


def bootstrap_ratio(
    above: ArrayLike, below: ArrayLike, seed: int, draws: int = 2000, level: float = 0.95
) -> Interval:
    """Return mean(above) / mean(below) with a bootstrap over pictures.

    There is no interval when some resample has a denominator of zero or below: the ratio's sign is then
    unknown. Values are differences in [-1, 1]. Where every picture gives the same ratio, as when no numerator
    differs from 0, what n pictures leave open of the numerator stands over the lowest denominator.
    """
    pair = np.stack([_vector(above), _vector(below)])
    value, n = float(pair[0].mean() / pair[1].mean()), pair.shape[1]
    tops, bottoms = resampled_means(pair, seed, draws)
    if n < 2 or bottoms.min() <= 0:
        return Interval(value, None, None, n)
    if are_equal(pair[0] - value * pair[1], (-1, 1)):
        half = unseen(n, level) / float(np.quantile(bottoms, (1 - level) / 2))
        return Interval(value, value - half, value + half, n)
    return _percentiles(value, tops / bottoms, level, n)


def unseen(n: int, level: float = 0.95) -> float:
    """Return the share of pictures that may differ where none of n does: the upper end of the drop of
    `paired_difference` where no picture changed.
    """
    return _z(level) / (n + 2)


def undiffering(value: float, n: int, within: tuple[float, float] | None, level: float = 0.95) -> Interval:
    """Return the interval of a mean of n equal values: a share `unseen` may lie anywhere within the range.

    Without a range the pictures say nothing about it.
    """
    if within is None:
        return Interval(value, None, None, n)
    share = min(1.0, unseen(n, level))
    low, high = within
    return Interval(value, value - share * (value - low), value + share * (high - value), n)


def are_equal(sample: NDArray[np.float64], within: tuple[float, float] | None) -> bool:
    """Tell whether values are equal but for the last digits of their sums."""
    spread = float(np.ptp(sample))
    size = within[1] - within[0] if within else float(np.abs(sample).max())
    return spread <= SAME * size


def resampled_means(values: NDArray[np.float64], seed: int, draws: int) -> NDArray[np.float64]:
    """Return the means [k, draws] of k vectors [k, n] over `draws` resamples of pictures, the same for all
    vectors.
    """
    n = values.shape[1]
    picked = _picked_at_once if draws * n <= CELLS else _picked
    return np.concatenate([[v[p].mean(axis=1) for v in values] for p in picked(seed, n, draws)], axis=1)


def _picked(seed: int, n: int, draws: int) -> Iterator[NDArray[np.int32]]:
    """Yield which of n pictures each draw takes [draws, n], some draws at a time."""
    rng, chunk = np.random.default_rng(seed), max(1, CELLS // n)
    for start in range(0, draws, chunk):
        yield rng.integers(0, n, size=(min(chunk, draws - start), n), dtype=np.int32)


@lru_cache(maxsize=2)
def _picked_at_once(seed: int, n: int, draws: int) -> tuple[NDArray[np.int32], ...]:
    """Return the same where it is no more than is drawn at a time: every score of a set draws alike."""
    return tuple(_picked(seed, n, draws))


def _percentiles(value: float, means: NDArray[np.float64], level: float, n: int) -> Interval:
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value), n)


def _vector(values: ArrayLike) -> NDArray[np.float64]:
    vector = np.asarray(values, dtype=np.float64)
    if vector.ndim != 1:
        raise ValueError(f"expected one value per picture, got an array of shape {vector.shape}")
    return vector


def _z(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"level must be in (0, 1), got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)
