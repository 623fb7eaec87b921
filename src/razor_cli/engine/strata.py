"""A gradient pass in strata that ends once two disjoint halves of what it has seen agree.

A stratum is a balanced draw of whole batches of each set. Batches are composed as the full pass composes
them: negatives come from a batch, so another composition would be another loss.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from razor_cli.contract.cost import Pass
from razor_cli.contract.family import Loss, Named, Tick
from razor_cli.contract.method import GradientPlan
from razor_cli.contract.sets import Part
from razor_cli.contract.strata import Adaptive, Agree, InBatches, ListedBatch
from razor_cli.data.sampling import rng_for
from razor_cli.errors import ConfigError

STRATA = 16  # of a pass; after each the halves are compared
HALVES = 2
OFFERED = 32  # batches that a draw chooses from
TAKEN = "taken"  # the entry of a cached pass that holds what it used; no parameter has such a name


def draw(batches: Sequence[ListedBatch], seed: int, label: str) -> list[int]:
    """Return the order in which batches are seen: those at even places make up one half, the others the
    other. Of a few that the seed offers, each place takes the one that brings the concepts of its half
    closest to their shares of all batches.
    """
    rng = rng_for(seed, f"strata of {label}")
    left = rng.sample(range(len(batches)), len(batches))
    numbers = {c: i for i, c in enumerate(dict.fromkeys(c for b in batches for c in b.concepts))}
    counts = torch.zeros(len(batches), max(1, len(numbers)))
    for row, batch in enumerate(batches):
        places = torch.tensor([numbers[c] for c in batch.concepts], dtype=torch.long)
        counts[row] = torch.bincount(places, minlength=counts.shape[1])
    wanted = counts.sum(0) / counts.sum().clamp(min=1)
    held = torch.zeros(HALVES, counts.shape[1])
    order: list[int] = []
    while left:
        half = len(order) % HALVES
        found = held[half] + counts[left[:OFFERED]]
        away = (found / found.sum(1, keepdim=True).clamp(min=1) - wanted).square().sum(1)
        chosen = left.pop(int(away.argmin()))
        held[half] += counts[chosen]
        order.append(chosen)
    return order


@dataclass(frozen=True)
class Asked:
    """A gradient that is asked for: the set's name and examples, the loss, and the size of its batches; None:
    one batch of all.
    """

    which: str
    part: Part
    name: str  # of the loss
    size: int | None

    @classmethod
    def to_forget(cls, plan: GradientPlan, part: Part) -> Asked:
        """Return what a plan asks of examples to forget."""
        told = part if plan.forget_caption is None else part.captioned(plan.forget_caption)
        return cls("forget", told, plan.forget_loss, plan.forget_batch)

    @classmethod
    def to_keep(cls, plan: GradientPlan, part: Part) -> Asked:
        """Return what a plan asks of examples to keep."""
        drawn = part if plan.retain_seed is None else part.drawn(plan.retain_seed)
        told = drawn if plan.retain_caption is None else drawn.captioned(plan.retain_caption)
        return cls("retain", told, plan.retain_loss, plan.retain_batch)

    @property
    def batch(self) -> int:
        """Return how many examples a batch has."""
        return max(1, len(self.part)) if self.size is None else self.size


@dataclass(kw_only=True)
class Stream:
    """The batches of one set, drawn and not yet seen, and the mean gradients of both halves of those seen.

    Raises ConfigError for a loss that cannot be taken in batches.
    """

    asked: Asked
    loss: Loss
    seed: int
    params: Collection[str]
    tick: Tick
    chunk: int
    used: int = 0  # examples
    _next: int = 0
    _means: list[Named] = field(default_factory=lambda: [{}, {}])
    _weights: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def __post_init__(self) -> None:
        if not isinstance(self.loss, InBatches):
            whose = f"'{self.asked.name}' of the {self.asked.which} set"
            raise ConfigError(
                f"method.gradient: the loss {whose} cannot be taken in parts",
                allowed="full",
                found="adaptive",
                fix="method.gradient=full",
            )
        listed = self.loss.batches(self.asked.part, self.asked.batch)
        self._batches = [listed[i] for i in draw(listed, self.seed, self.asked.which)]

    @property
    def done(self) -> bool:
        """Tell whether every batch was seen."""
        return self._next == len(self._batches)

    def advance(self, share: float) -> None:
        """See as many batches in each half as make up a share of all, until all were seen."""
        count = len(self._batches)
        until = min(count, HALVES * math.ceil(count * share / HALVES))
        for place in range(self._next, until):
            batch = self._batches[place]
            size = self.asked.batch
            found = self.loss.gradient(batch.part, size, self.params, self.tick, chunk=self.chunk)
            self._add(place % HALVES, found, batch.weight)
            self.used += len(batch.part)
        self._next = max(self._next, until)

    def _add(self, half: int, found: Named, weight: float) -> None:
        self._weights[half] += weight
        mean, share = self._means[half], weight / self._weights[half]
        for name in list(found):
            value = found.pop(name)
            mean[name] = mean[name].lerp_(value, share) if name in mean else value

    def half(self, number: int) -> Named:
        """Return the mean gradient of one half; of a set that was seen whole that of all of it, in which
        there is nothing left to chance.
        """
        if self.done:
            return self.whole()
        return self._means[number]

    def whole(self) -> Named:
        """Return the mean gradient of all that was seen. The halves are gone afterwards."""
        first, second = self._means
        if second:
            share = self._weights[1] / sum(self._weights)
            for name in list(second):
                first[name].lerp_(second.pop(name), share)
            self._weights = [sum(self._weights), 0.0]
        return first


def in_strata(streams: Sequence[Stream], rule: Adaptive, agree: Agree) -> tuple[list[Named], Pass]:
    """Return the mean gradients of several sets by as much of them as it takes until halves agree, and what
    was used.
    """
    found, looks, early = None, 0, False
    for number in range(1, STRATA + 1):
        for stream in streams:
            stream.advance(number / STRATA)
        if all(s.done for s in streams):
            break
        if any(s.used < rule.floor and not s.done for s in streams):
            continue
        looks += 1
        found = agree([s.half(0) for s in streams], [s.half(1) for s in streams])
        if early := found.same and found.cosine > rule.agreement:
            break
    taken = Pass(
        used={s.asked.which: s.used for s in streams},
        there={s.asked.which: len(s.asked.part) for s in streams},
        same=found.same if found else None,
        cosine=found.cosine if found else None,
        looks=looks,
        stopped_early=early,
    )
    return [s.whole() for s in streams], taken


def packed(found: Sequence[Named], taken: Pass) -> dict[str, Tensor]:
    """Return a pass as tensors, for a cache."""
    rows = {f"{i}/{name}": value for i, each in enumerate(found) for name, value in each.items()}
    nothing = math.nan
    same = nothing if taken.same is None else float(taken.same)
    cosine = nothing if taken.cosine is None else taken.cosine
    counts = [*taken.used.values(), *taken.there.values()]
    numbers = [same, cosine, taken.looks, float(taken.stopped_early), *counts]
    return rows | {TAKEN: torch.tensor(numbers, dtype=torch.float64)}


def unpacked(values: Mapping[str, Tensor], sets: Sequence[str], device: str) -> tuple[list[Named], Pass]:
    """Return what was packed of a pass over these sets, its gradients on the device."""
    found: list[Named] = [{} for _ in sets]
    for key, value in values.items():
        if key != TAKEN:
            place, name = key.split("/", 1)
            found[int(place)][name] = value.to(device)
    same, cosine, looks, early, *counts = values[TAKEN].tolist()
    whole = [int(c) for c in counts]
    taken = Pass(
        used=dict(zip(sets, whole[: len(sets)], strict=True)),
        there=dict(zip(sets, whole[len(sets) :], strict=True)),
        same=None if math.isnan(same) else bool(same),
        cosine=None if math.isnan(cosine) else cosine,
        looks=int(looks),
        stopped_early=bool(early),
    )
    return found, taken
