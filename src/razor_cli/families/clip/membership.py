"""Membership inference on the target's pictures, and PrivLeak against a model retrained without them.

Members are the pictures that the edit was given (with a stand-in, pictures that its base was trained on); the
others are judged pictures of the same target. Every signal is oriented so that more of it speaks for
membership. The intervals are DeLong's (Biometrics 1988): they need no resampling, and states that see the
same pictures are compared as paired.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import torch
from torch import Tensor

from razor_cli.families.clip.predictions import Predictions, probabilities
from razor_cli.families.clip.reference import Reference
from razor_cli.metrics import stats
from razor_cli.metrics.score import Score
from razor_cli.metrics.scored import missing, scored
from razor_cli.metrics.stats import Interval

Z = NormalDist().inv_cdf(0.975)  # of 95 % intervals
SIGNALS = ("own_caption", "max_probability", "entropy", "loss")
NO_MEMBERS = "no pictures of the target that the edit saw were given"
NO_SCALE = "the model's logit scale is not known"
NO_ORACLE = "no oracle: weights retrained without the target were not given (model.oracle)"


class Placements(NamedTuple):
    """How each picture stands among those of the other group: DeLong's structural components of an AUC."""

    members: Tensor  # [m] share of the others that a member exceeds, ties half
    others: Tensor  # [n] share of the members that exceed another picture, ties half

    @property
    def auc(self) -> float:
        """Return the area under the ROC curve."""
        return float(self.members.mean())


def placements(members: Tensor, others: Tensor) -> Placements:
    """Return the placements of two groups of signal values [m], [n], in O((m + n) log(m + n))."""
    members, others = members.double(), others.double()
    return Placements(_below(members, others), 1 - _below(others, members))


def _below(values: Tensor, among: Tensor) -> Tensor:
    ordered = among.sort().values
    return (
        torch.searchsorted(ordered, values) + torch.searchsorted(ordered, values, right=True)
    ).double() / (2 * len(among))


def covariance(first: Placements, second: Placements) -> float:
    """Return DeLong's covariance of two AUCs over the same pictures; with itself, the variance. 0 below two
    pictures a group.
    """
    parts = zip(first, second, strict=True)
    return sum(
        float(((a - a.mean()) * (b - b.mean())).sum()) / ((len(a) - 1) * len(a))
        for a, b in parts
        if len(a) > 1
    )


def auc_interval(placed: Placements) -> Interval:
    """Return an AUC in [0, 1] with its interval: DeLong's variance on the logit scale, which keeps it inside
    [0, 1].

    Where the sample shows no variance (perfect separation, or nothing but ties) it is Wilson's with the
    smaller group's size instead: the variance of an AUC is at most that of a proportion over so many disjoint
    pairs.
    """
    n, value, variance = min(map(len, placed)), placed.auc, covariance(placed, placed)
    if variance <= 0 or not 0 < value < 1:
        return stats.wilson(min(max(value, 0.0), 1.0) * n, n)
    centre, half = math.log(value / (1 - value)), Z * math.sqrt(variance) / (value * (1 - value))
    return Interval(value, _logistic(centre - half), _logistic(centre + half), n)


def _logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def leak_interval(now: Placements, oracle: Placements) -> Interval:
    """Return PrivLeak = (AUC - AUC[oracle]) / AUC[oracle] as a fraction (MUSE, arXiv 2407.06460), paired over
    pictures.

    The interval follows from DeLong's covariance to first order; there is none where the sample shows no
    variance. Needs AUC[oracle] > 0.
    """
    n, ratio = min(map(len, now)), now.auc / oracle.auc
    variance = (
        covariance(now, now) + ratio**2 * covariance(oracle, oracle) - 2 * ratio * covariance(now, oracle)
    )
    if variance <= 1e-15:  # what rounding leaves of equal states
        return Interval(ratio - 1, None, None, n)
    half = Z * math.sqrt(variance) / oracle.auc
    return Interval(ratio - 1, ratio - 1 - half, ratio - 1 + half, n)


def signals(state: Reference) -> dict[str, Placements]:
    """Return the placements by signal, for those that the state allows; none without members."""
    if state.member_cosine is None:
        return {}
    found = {"own_caption": placements(state.member_cosine, state.forget_cosine["native"])}
    head = state.head
    if head is None or head.members is None or head.member_class is None:
        return found
    inside, outside = (
        _from_head(head, head.members, head.member_class),
        _from_head(head, head.forget, head.forget_class),
    )
    return found | {name: placements(inside[name], outside[name]) for name in inside}


def _from_head(head: Predictions, cosines: Tensor, classes: Tensor) -> dict[str, Tensor]:
    """Return the signals [n] of pictures by the zero-shot head: its confidence, its certainty, and minus its
    loss.
    """
    p = probabilities(cosines, head.scale)
    own = torch.log_softmax(head.scale * cosines.double(), dim=1).gather(1, classes[:, None])[:, 0]
    return {"max_probability": p.amax(dim=1), "entropy": torch.xlogy(p, p).sum(dim=1), "loss": own}


def mia_scores(now: Reference) -> list[Score]:
    """How well each signal tells pictures that the edit saw from judged ones (AUC in %)."""
    found = signals(now)
    return [
        scored("mia_auc", name, auc_interval(found[name]).scaled(100))
        if name in found
        else missing("mia_auc", name, _why(now))
        for name in SIGNALS
    ]


def privleak_scores(now: Reference, oracle: Reference | None) -> list[Score]:
    """PrivLeak by each signal, in %. Above 0: members are easier to tell than from a model that never saw
    them.
    """
    mine, theirs = signals(now), signals(oracle) if oracle else {}
    scores = []
    for name in SIGNALS:
        if oracle is None or name not in mine or name not in theirs:
            scores.append(missing("privleak", name, NO_ORACLE if oracle is None else _why(now)))
        elif theirs[name].auc == 0:
            scores.append(missing("privleak", name, "the oracle's AUC is 0, which nothing can be a share of"))
        else:
            scores.append(scored("privleak", name, leak_interval(mine[name], theirs[name]).scaled(100)))
    return scores


def _why(now: Reference) -> str:
    return NO_MEMBERS if now.member_cosine is None else NO_SCALE
