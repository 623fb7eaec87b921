"""How far a state predicts from a model retrained without the target, from the base, and from the base on
unseen pictures.

Distributions are those of the zero-shot head over the domain's class prompts, each model with its own logit
scale. Divergences are in nats: 0 for equal distributions, ln 2 = 0.693 at most.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from razor_cli.families.clip.membership import NO_MEMBERS, NO_ORACLE, NO_SCALE
from razor_cli.families.clip.predictions import Predictions, probabilities
from razor_cli.families.clip.reference import Reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

WHOLE = (
    "oracle",
    "reseeded",
)  # states that are other models: all their tensors differ, so they decide nothing about an edit
NO_BASE = "no reference: the unedited model was not measured"
VARIANTS = ("forget", "forget_without_target", "retain")
LN2 = math.log(2)
DIVERGENCE, APART = (0.0, LN2), (0.0, 2.0)  # what a divergence, and the difference of two cosines, can be


def jensen_shannon(p: Tensor, q: Tensor) -> Tensor:
    """Return the Jensen-Shannon divergence in nats [...] of distributions [..., C]: symmetric, 0 for equal
    ones, at most ln 2.
    """
    middle = (p + q) / 2
    apart = [(torch.xlogy(d, d) - torch.xlogy(d, middle)).sum(dim=-1) for d in (p, q)]
    return ((apart[0] + apart[1]) / 2).clamp(0, LN2)


def distance_scores(
    now: Reference, other: Reference | None, name: str, settings: Metrics, seed: int
) -> list[Score]:
    """Divergence, agreement of the best class, and difference of cosines between a state and `other`, picture
    by picture.

    `name` is oracle or base: the metrics are <name>_jsd, <name>_top1_agreement and <name>_cos.
    """
    scores = []
    for variant in VARIANTS:
        pair, reason = _pair(now, other, variant, NO_ORACLE if name == "oracle" else NO_BASE)
        if pair is None:
            scores += [missing(f"{name}_{m}", variant, reason) for m in ("jsd", "top1_agreement", "cos")]
        else:
            scores += _distances(*pair, variant, name, settings, seed)
    return scores


def _pair(
    now: Reference, other: Reference | None, variant: str, no_other: str
) -> tuple[tuple[Predictions, Predictions] | None, str]:
    """Return the heads of both states, or None and why `variant` cannot be had."""
    if other is None:
        return None, no_other
    if now.head is None or other.head is None:
        return None, NO_SCALE
    classes = len(now.class_names) - (now.head.forgotten if variant == "forget_without_target" else 0)
    if classes < 2:
        return None, "fewer than two classes of the target's domain are left to choose from"
    if variant == "retain" and not len(now.head.retain):
        return None, "no retain picture shows another concept of the target's domain"
    return (now.head, other.head), ""


def _distances(
    now: Predictions, other: Predictions, variant: str, name: str, settings: Metrics, seed: int
) -> Iterator[Score]:
    skip = now.forgotten if variant == "forget_without_target" else 0
    mine, theirs = (h.retain if variant == "retain" else h.forget for h in (now, other))
    apart = jensen_shannon(probabilities(mine, now.scale, skip), probabilities(theirs, other.scale, skip))
    same = mine[:, skip:].argmax(dim=1) == theirs[:, skip:].argmax(dim=1)
    moved = (mine[:, skip:].double() - theirs[:, skip:].double()).abs().mean(dim=1)

    def mean(values: Tensor, within: tuple[float, float]) -> Interval:
        if now is other:
            return Interval.exactly(0.0, len(values))
        return stats.bootstrap_mean(values, seed, settings.bootstrap_draws, within=within)

    yield scored(f"{name}_jsd", variant, mean(apart, DIVERGENCE))
    yield scored(f"{name}_top1_agreement", variant, stats.wilson(float(same.sum()), len(same)).scaled(100))
    yield scored(f"{name}_cos", variant, mean(moved, APART).scaled(100))


def rf_jsd_scores(now: Reference, base: Reference | None, settings: Metrics, seed: int) -> list[Score]:
    """RF-JSD (LoTUS): class-wise mean prediction of this state on pictures the edit saw, against the base's
    on unseen ones.

    The mean over the forgotten classes that have pictures of both kinds. The interval draws both kinds anew.
    """
    scores = []
    for variant in ("class_mean", "class_mean_without_target"):
        found = _retrain_free(now, base, variant, settings, seed)
        scores.append(
            missing("rf_jsd", variant, found) if isinstance(found, str) else scored("rf_jsd", variant, found)
        )
    return scores


def _retrain_free(
    now: Reference, base: Reference | None, variant: str, settings: Metrics, seed: int
) -> Interval | str:
    """Return RF-JSD, or why there is none."""
    if now.member_cosine is None:
        return NO_MEMBERS
    pair, reason = _pair(now, base, "forget" if variant == "class_mean" else "forget_without_target", NO_BASE)
    if pair is None:
        return reason
    mine, theirs = pair
    assert mine.members is not None and mine.member_class is not None  # whoever has member cosines has these
    skip = 0 if variant == "class_mean" else mine.forgotten
    seen, unseen = (
        probabilities(mine.members, mine.scale, skip),
        probabilities(theirs.forget, theirs.scale, skip),
    )
    groups = [
        (seen[mine.member_class == c], unseen[theirs.forget_class == c])
        for c in torch.unique(mine.member_class)
        if bool((theirs.forget_class == c).any())
    ]
    if not groups:
        return "no forgotten concept has both pictures that the edit saw and judged ones"
    value = float(torch.stack([jensen_shannon(a.mean(dim=0), b.mean(dim=0)) for a, b in groups]).mean())
    n = sum(min(len(a), len(b)) for a, b in groups)
    if any(min(len(a), len(b)) < 2 for a, b in groups):
        return Interval(value, None, None, n)
    rng = np.random.default_rng(seed)
    drawn = sum(
        jensen_shannon(*(_drawn_means(x, rng, settings.bootstrap_draws) for x in pair)) for pair in groups
    )
    means = np.asarray(drawn) / len(groups)
    if stats.are_equal(means, DIVERGENCE):
        return stats.undiffering(value, n, DIVERGENCE)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(value, min(float(low), value), max(float(high), value), n)


def _drawn_means(rows: Tensor, rng: np.random.Generator, draws: int) -> Tensor:
    """Return the means [draws, C] of rows [n, C] over resamples of them, in float32: they only bound an
    interval.
    """
    n, rows = len(rows), rows.float()
    chunk, parts = max(1, stats.CELLS // n), []
    for start in range(0, draws, chunk):
        size = min(chunk, draws - start)
        picked = (
            rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        )  # each resample counts in cells of its own
        counts = np.bincount(picked.ravel(), minlength=size * n).reshape(size, n)
        parts.append(torch.from_numpy(counts).float() @ rows / n)
    return torch.cat(parts).double()
