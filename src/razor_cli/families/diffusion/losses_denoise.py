"""Losses through the net: what it says of noised pictures under a prompt.

retain: the denoising loss of pictures with captions (RAZOR eq. 8), or that of the flow. mismatch: how far the
strength of a prompt, as the net feels it, is from what it was under the unedited weights (eq. 10).

The net is passed in small parts down to the contexts, whose gradients add up; one pass backward through the
text encoders then gives those of their parameters. That is the same gradient, in memory that does not grow.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from razor_cli.contract.choices import Direction
from razor_cli.contract.family import RETAIN, Change, Named, Tick
from razor_cli.data.sets import Pairs
from razor_cli.dual.losses import mismatch
from razor_cli.families.diffusion.context import Context
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.kinds import Draws
from razor_cli.families.diffusion.trajectories import Trajectories, drawn, strength

MISMATCH = "mismatch_"  # mismatch_squared, mismatch_signed, mismatch_abs
FORMS = ("squared", "signed", "abs")
TINY = 1e-12  # a difference of nothing has a root with a slope
ENCODED = 64  # prompts encoded at once

Passes = Callable[[Context], Iterator[Tensor]]  # contexts -> parts of a loss, one pass each


def leaf_contexts(denoiser: Denoiser, prompts: Sequence[str]) -> Context:
    """Return contexts that gradients end at."""
    with torch.no_grad():
        parts = [denoiser.encode(prompts[i : i + ENCODED]) for i in range(0, len(prompts), ENCODED)]
    return Context.cat(parts).map(lambda t: t.detach().requires_grad_())


def context_gradient(
    denoiser: Denoiser, prompts: Sequence[str], passes: Passes, params: Collection[str]
) -> Named:
    """Return the gradient for `params` of the sum of what `passes` makes of the contexts of `prompts`."""
    with denoiser.asking(params) as live, torch.enable_grad():
        total = {n: torch.zeros_like(p) for n, p in live.items()}
        inner = {n: p for n, p in live.items() if n.partition(".")[0] not in denoiser.encoders}
        outer = {n: p for n, p in live.items() if n not in inner}
        leaves = leaf_contexts(denoiser, prompts)
        seeds = [torch.zeros_like(t) for t in leaves.parts()]
        for value in passes(leaves):
            wanted = [*leaves.parts(), *inner.values()]
            found = torch.autograd.grad(value, wanted, allow_unused=True)
            for held, gradient in zip([*seeds, *(total[n] for n in inner)], found, strict=True):
                if gradient is not None:
                    held.add_(gradient)
        for start in range(0, len(prompts) if outer else 0, ENCODED):
            part = slice(start, start + ENCODED)
            contexts = denoiser.encode(prompts[part]).parts()
            shares = [(c * s[part]).sum() for c, s in zip(contexts, seeds, strict=True)]
            found = torch.autograd.grad(torch.stack(shares).sum(), list(outer.values()), allow_unused=True)
            for name, gradient in zip(outer, found, strict=True):
                if gradient is not None:
                    total[name] += gradient
    return total


@dataclass(frozen=True, kw_only=True)
class DenoiseLoss:
    """The mean over pictures of the error that the net makes of them, noised in several strata of time."""

    denoiser: Denoiser
    latents: Callable[[Pairs], Tensor]  # of the pictures of a part [n, c, h, w]
    draws: Draws

    direction = Direction.DOWN
    drifts = False

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and pictures."""
        d = self.denoiser
        drawn = {"draws": self.draws.per_picture, "seed": self.draws.seed, "batch": self.draws.batch}
        return {"name": RETAIN, "tail": d.tail, "schedule": d.schedule(), "side": d.side, **drawn}

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the gradient of the mean over all pictures for `params`. Batches of `size` share contexts;
        the net sees no more pictures at once than `chunk` and the settings allow.
        """
        latents = self.latents(part)
        at = self.denoiser.steps(len(part), self.draws.per_picture, self.draws.seed)
        total: Named = {}
        for start in range(0, len(part), size):
            batch = slice(start, min(start + size, len(part)))
            numbers: dict[str, int] = {}
            rows = [numbers.setdefault(c, len(numbers)) for c in part.captions[batch]]
            work = _Batch(self, latents[batch], at[batch], rows, start, len(part), chunk, tick)
            found = context_gradient(self.denoiser, list(numbers), work.passes, params)
            total = {n: total[n] + g for n, g in found.items()} if total else found
        return total

    def anchored(self, base: Change, cache: Any = None) -> DenoiseLoss:
        """Return the loss itself: it compares with true noise, not with other weights."""
        return self


@dataclass(frozen=True)
class _Batch:
    """Some pictures of a part: latents, times [n, draws] and the rows of their captions; the first of them is
    `first` of `count`.
    """

    loss: DenoiseLoss
    latents: Tensor
    at: Tensor
    rows: Sequence[int]
    first: int
    count: int
    chunk: int
    tick: Tick

    def passes(self, contexts: Context) -> Iterator[Tensor]:
        """Yield the parts of the mean loss over the whole part that belong to these pictures."""
        d, draws = self.loss.denoiser, self.loss.draws
        at_once = max(1, min(self.chunk, draws.batch))
        for start in range(0, len(self.rows), at_once):
            here = slice(start, min(start + at_once, len(self.rows)))
            latents, places = (
                self.latents[here].to(d.device),
                range(self.first + start, self.first + here.stop),
            )
            for draw in range(draws.per_picture):
                noise = d.noise(latents, [f"{draws.seed}/{place}/{draw}" for place in places])
                at = self.at[here, draw].to(d.device)
                said = d.predict(d.noised(latents, noise, at), at, contexts.rows(self.rows[here]))
                error = (said - d.target(latents, noise, at)).float().square().flatten(1).mean(dim=1)
                yield error.sum() / (self.count * draws.per_picture)
                self.tick(len(places), len(places))


@dataclass(frozen=True, kw_only=True)
class MismatchLoss:
    """How far prompts' strength is from that under the unedited weights, along trajectories that those drew:
    the root of the mean square of what a prompt changes in the net's answer.
    """

    denoiser: Denoiser
    family: Any
    form: str
    draws: Draws
    base: Change | None = None
    _walks: dict[str, tuple[Trajectories, Tensor]] = field(default_factory=dict, repr=False)

    direction = Direction.DOWN
    drifts = False

    @property
    def key(self) -> Mapping[str, object]:
        """Return what a gradient depends on beyond weights and prompts."""
        d = self.denoiser
        return {
            "name": MISMATCH + self.form,
            "draws": asdict(self.draws),
            "tail": d.tail,
            "schedule": d.schedule(),
        }

    def anchored(self, base: Change, cache: Any = None) -> MismatchLoss:
        """Return the mismatch against prompts' strength under `base`."""
        return replace(self, base=base, _walks={})

    def gradient(
        self, part: Pairs, size: int, params: Collection[str], tick: Tick, *, chunk: int = 128
    ) -> Named:
        """Return the gradient of the mean over the distinct captions of a part and the states of their
        trajectories.
        """
        if self.base is None:
            raise RuntimeError(
                f"{MISMATCH}{self.form} compares with the unedited weights: it must be anchored"
            )
        walk, before = self._walk(part, tick)

        def passes(contexts: Context) -> Iterator[Tensor]:
            for here, now in self._strengths(walk, contexts, tick):
                yield mismatch(now, before[here], self.form) * (len(now) / len(walk))

        return context_gradient(self.denoiser, [*walk.prompts, ""], passes, params)

    def _strengths(self, walk: Trajectories, contexts: Context, tick: Tick) -> Iterator[tuple[slice, Tensor]]:
        """Yield the strength of the prompts at each state in batches; the last context is of no words."""
        for here, states in walk.parts(self.draws.batch):
            yield here, strength(self.denoiser, states, contexts, len(walk.prompts), TINY)
            tick(2 * len(states.rows), 2 * len(states.rows))

    def _walk(self, part: Pairs, tick: Tick) -> tuple[Trajectories, Tensor]:
        """Return the trajectories of a part's captions, and the strength of each there, both under the
        unedited weights. Both passes are made in one way, so that weights that did not move differ by
        nothing.
        """
        print_ = part.fingerprint()
        if print_ not in self._walks:
            prompts = list(dict.fromkeys(part.captions))[: self.draws.prompts]
            assert self.base is not None
            with self.base.held(self.family), torch.enable_grad():
                walk = drawn(self.denoiser, prompts, self.draws)
                contexts = leaf_contexts(self.denoiser, [*prompts, ""])
                found = [now.detach() for _, now in self._strengths(walk, contexts, _forward(tick))]
            self._walks[print_] = walk, torch.cat(found)
        return self._walks[print_]


def _forward(tick: Tick) -> Tick:
    return lambda seen, _: tick(seen, 0)
