"""Knowledge tracing on a two-level taxonomy (Tan & Gong, arXiv 2506.11253, 4.1.3): Quality, Utility, Q-U,
zero-shot mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from razor_cli.families.clip.reference import Reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval
from razor_cli.metrics.tradeoff import ACCURACIES, Accuracies, Tradeoff, tradeoff

RATIOS = ("quality", "utility", "q_u")
NO_BASE, NO_TASK = "no reference: the unedited model was not measured", "no unrelated task was measured"
SEEN = "emoji_seen"  # shows trained icons: no zero-shot task


def tracing_scores(now: Reference, settings: Metrics, base: Reference | None, seed: int) -> list[Score]:
    """Return accuracies by fine and coarse label, Quality, Utility and Q-U, in distribution and out of it,
    and `zero_shot`.

    Nothing for a run without a taxonomy.
    """
    scores = []
    for name, hits in now.traced.items():
        for metric in ACCURACIES:
            n = len(hits[metric])
            found = stats.wilson(float(hits[metric].sum()), n).scaled(100) if n else None
            scores.append(scored(metric, name, found) if found else missing(metric, name, "no such picture"))
        scores += _ratios(name, hits, base.traced.get(name) if base else None, settings, seed)
    return (
        [*scores, zero_shot(now.suites), zero_shot_drop(now.suites, base.suites if base else None)]
        if now.traced
        else []
    )


def zero_shot(suites: Mapping[str, Tensor]) -> Score:
    """Return the plain mean of top-1 accuracy over unrelated tasks, each weighing the same.

    The interval adds up the tasks' Wilson intervals as independent errors.
    """
    shares = [stats.wilson(float(h.sum()), len(h)) for name, h in suites.items() if name != SEEN]
    if not shares:
        return missing("zero_shot", "mean", NO_TASK)
    return scored("zero_shot", "mean", _mean_of(shares).scaled(100))


def zero_shot_drop(suites: Mapping[str, Tensor], base: Mapping[str, Tensor] | None) -> Score:
    """Return how much of the unedited model's zero-shot mean is gone, each task's change paired over its
    pictures.
    """
    if base is None:
        return missing("zero_shot_drop", "mean/base", NO_BASE)
    changes = [
        Interval.exactly(0.0, len(hits)) if base is suites else stats.paired_difference(base[name], hits)
        for name, hits in suites.items()
        if name != SEEN
    ]
    if not changes:
        return missing("zero_shot_drop", "mean/base", NO_TASK)
    return scored("zero_shot_drop", "mean/base", _mean_of(changes).scaled(100))


def _mean_of(parts: Sequence[Interval]) -> Interval:
    """Return the mean of independent quantities; their half-widths add up as independent errors do."""
    value = sum(p.value for p in parts) / len(parts)
    low = math.sqrt(sum((p.value - (p.value if p.low is None else p.low)) ** 2 for p in parts)) / len(parts)
    high = math.sqrt(sum(((p.value if p.high is None else p.high) - p.value) ** 2 for p in parts)) / len(
        parts
    )
    return Interval(value, value - low, value + high, sum(p.n for p in parts))


def _ratios(
    name: str, hits: Mapping[str, Tensor], base: Mapping[str, Tensor] | None, settings: Metrics, seed: int
) -> list[Score]:
    if base is None:
        return [missing(m, name, NO_BASE) for m in RATIOS]
    if nothing := [m for m in ACCURACIES if not float(base[m].sum()) > 0]:
        reason = f"the unedited model's {' and '.join(nothing)} is 0, a ratio to it has no value"
        return [missing(m, name, reason) for m in RATIOS]
    value = tradeoff(_means(hits), _means(base), cap=settings.qu_cap)
    drawn = _resampled(hits, base, settings, seed)
    worst, best = _open(hits, base, settings)
    scores = []
    for metric in RATIOS:
        found = float(getattr(value, metric))
        if not math.isfinite(found):
            scores.append(missing(metric, name, "0/0: Quality and Utility are both 0"))
            continue
        draws = getattr(drawn, metric) if drawn else np.array([math.nan])
        low, high = None, None
        if bool(np.isfinite(draws).all()):
            ends = np.quantile(draws, [0.025, 0.975])
            if hits is not base and stats.are_equal(draws, (0.0, 1.0)):
                ends = np.nan_to_num([getattr(worst, metric), getattr(best, metric)])  # Q-U of 0 and 0 is 0
            low, high = min(float(ends[0]), found), max(float(ends[1]), found)
        scores.append(
            scored(
                metric,
                name,
                Interval(found, low, high, len(hits["df_fine"]) + len(hits["dr_fine"])).scaled(100),
            )
        )
    return scores


def _open(
    hits: Mapping[str, Tensor], base: Mapping[str, Tensor], settings: Metrics
) -> tuple[Tradeoff, Tradeoff]:
    """Return the three at the worst and at the best that pictures leave open which all answer alike."""
    ends = []
    for sign in (1, -1):  # worst: more of what should go is known, and less of the rest
        moved = {
            m: float(hits[m].double().mean())
            + (sign if m == "df_fine" else -sign) * stats.unseen(len(hits[m]))
            for m in ACCURACIES
        }
        now = Accuracies(**{m: min(1.0, max(0.0, share)) for m, share in moved.items()})
        ends.append(tradeoff(now, _means(base), cap=settings.qu_cap))
    return ends[0], ends[1]


def _means(hits: Mapping[str, Tensor]) -> Accuracies:
    return Accuracies(**{m: float(hits[m].double().mean()) for m in ACCURACIES})


def _resampled(
    hits: Mapping[str, Tensor], base: Mapping[str, Tensor], settings: Metrics, seed: int
) -> Tradeoff | None:
    """Return the three for each resample of pictures: forgotten and retained ones apart, a picture's values
    kept together.

    None if some group has fewer than two pictures.
    """
    found: dict[str, dict[str, NDArray[np.float64]]] = {"now": {}, "base": {}}
    for number, part in enumerate(("df", "dr")):
        metrics = [f"{part}_fine", f"{part}_coarse"]
        rows = np.stack([state[m].double().numpy() for state in (hits, base) for m in metrics])
        if rows.shape[1] < 2:
            return None
        now_fine, now_coarse, base_fine, base_coarse = stats.resampled_means(
            rows, seed + number, settings.bootstrap_draws
        )
        found["now"] |= dict(zip(metrics, (now_fine, now_coarse), strict=True))
        found["base"] |= dict(zip(metrics, (base_fine, base_coarse), strict=True))
    return tradeoff(Accuracies(**found["now"]), Accuracies(**found["base"]), cap=settings.qu_cap)
