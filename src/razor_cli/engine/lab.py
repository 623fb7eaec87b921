"""What a method may ask for: gradients, the scoreboard, the seed; it counts what everything cost."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from razor_cli.contract.edit import Cost
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.dual.board import Board
from razor_cli.dual.gradients import Loss, Named, retain_loss, set_gradient
from razor_cli.dual.losses import concept_cross_entropy, concept_margin, concept_uniform, forget_cosine
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.families.clip.family import Clip

HEAD_LOSSES = {  # over the zero-shot head
    "concept_ce": concept_cross_entropy,
    "concept_uniform": concept_uniform,
    "concept_margin": concept_margin,
}
ENGINE = 2  # raise when a change here alters gradients, so that cached ones are not taken for new


@dataclass(frozen=True, kw_only=True)
class GradientPlan:
    """Which gradients a method wants."""

    forget_loss: str = "cosine"  # cosine, or one of HEAD_LOSSES
    forget_batch: int = 128
    retain_batch: int = 128
    chunk: int = 128  # pictures in memory at once; a larger batch is exact through gradient caching


@dataclass(kw_only=True)
class Lab:
    """One model and its sets on the bench. `fast=False` is the slow reference engine without caches or
    replay.
    """

    model: Clip
    sets: ConceptSets
    fast: bool = True
    cache: TensorCache | None = None
    seed: int = 0
    say: Callable[[str], None] = lambda _: None
    cost: Cost = field(default_factory=Cost)
    resume_dir: Path | None = (
        None  # where a training keeps its state from epoch to epoch; None: a killed one starts over
    )
    earlier_seconds: float = field(
        default=0.0, init=False
    )  # spent on this edit before it was killed and resumed
    _started: float | None = field(default=None, init=False)
    _board: Board | None = field(default=None, init=False)

    @property
    def board(self) -> Board:
        """Return the validation scoreboard, built on first use with the weights as they are then."""
        if self._board is None:
            self._board = Board(
                self.model, self.sets, self.cost, fast=self.fast
            )  # loads pictures: no part of the search
        return self._board

    def generator(self) -> torch.Generator:
        """Return a fresh random generator of the run's seed."""
        return torch.Generator().manual_seed(self.seed)

    def gradients(
        self, plan: GradientPlan, *, at_base: bool = True, sample: int | None = None
    ) -> tuple[Named, Named]:
        """Return (g_f, g_r), the gradients of the forget and the retain loss at the current weights, for all
        parameters.

        At the unedited weights they come from the disk cache where it has them. `sample` takes only the first
        so many pictures of each set (growth rounds may be scored on a sample).
        """
        started = time.perf_counter()
        forget, retain = (
            self._forget_gradient(plan, at_base, sample),
            self._retain_gradient(plan, at_base, sample),
        )
        self.cost.gradient_seconds += time.perf_counter() - started
        return forget, retain

    def forget_gradient(self, plan: GradientPlan) -> Named:
        """Return g_f at the unedited weights, alone: g_r is the same for every forget loss."""
        started = time.perf_counter()
        forget = self._forget_gradient(plan, True, None)
        self.cost.gradient_seconds += time.perf_counter() - started
        return forget

    def _forget_gradient(self, plan: GradientPlan, at_base: bool, sample: int | None) -> Named:
        loss: Loss = forget_cosine
        if plan.forget_loss in HEAD_LOSSES:
            return self._cached("forget", plan, at_base, sample, lambda: self._concept_gradient(plan, sample))
        return self._cached(
            "forget",
            plan,
            at_base,
            sample,
            lambda: self._pass(self.sets.forget, loss, plan.forget_batch, plan, sample),
        )

    def _retain_gradient(self, plan: GradientPlan, at_base: bool, sample: int | None) -> Named:
        loss = retain_loss(self.model.scale)
        return self._cached(
            "retain",
            plan,
            at_base,
            sample,
            lambda: self._pass(self.sets.retain, loss, plan.retain_batch, plan, sample),
        )

    def _concept_gradient(self, plan: GradientPlan, sample: int | None) -> Named:
        """Return the gradient of a loss over the zero-shot head; of several concepts, the mean over all their
        pictures.
        """
        tokens = self.model.tokenize([self.sets.prompts[n] for n in self.sets.class_names])
        names, scale, total = self.sets.forget_names, self.model.scale, Named()
        pairs = Pairs(self.sets.forget.pictures[:sample], self.sets.forget.sources)
        for target, name in enumerate(names):
            own = pairs if len(names) == 1 else pairs.of(name)
            if not len(own):
                continue

            def loss(images: Tensor, _texts: Tensor, target: int = target) -> Tensor:
                return HEAD_LOSSES[plan.forget_loss](
                    images, self.model.encode_text(tokens), target, scale, len(names)
                )

            found = self._pass(own, loss, plan.forget_batch, plan, None, separable=True)
            share = len(own) / len(pairs)
            total = (
                found
                if len(names) == 1
                else {n: share * g + total[n] if n in total else share * g for n, g in found.items()}
            )
        return total

    def _pass(
        self,
        pairs: Pairs,
        loss: Loss,
        size: int,
        plan: GradientPlan,
        sample: int | None,
        *,
        separable: bool = False,
    ) -> Named:
        pairs = Pairs(pairs.pictures[:sample], pairs.sources)
        done = 0

        def tick(count: int) -> None:
            nonlocal done
            done += count
            self.cost.forwards += count
            self.cost.backwards += count
            self.say(f"gradients: {done} of {len(pairs)} pictures")

        return set_gradient(self.model, pairs, loss, size, plan.chunk, tick, separable=separable)

    def _cached(
        self, which: str, plan: GradientPlan, at_base: bool, sample: int | None, compute: Callable[[], Named]
    ) -> Named:
        if not at_base or self.cache is None:
            return compute()
        pairs = self.sets.forget if which == "forget" else self.sets.retain
        strange = (
            "retain_" if which == "forget" else "forget_"
        )  # settings that this gradient does not depend on
        parts = {
            "engine": ENGINE,
            "torch": torch.__version__,
            "weights": self.model.weights_hash(),
            "set": pairs.fingerprint(),
            "which": which,
            "plan": {k: v for k, v in vars(plan).items() if not k.startswith(strange)},
            "sample": sample,
            "scale": self.model.scale,
            "device": self.model.device,
            "prompts": self.sets.prompts if plan.forget_loss in HEAD_LOSSES and which == "forget" else None,
            **({"joint": self.sets.joint} if len(self.sets.joint) > 1 else {}),
        }
        found, hit = self.cache.get(content_key(parts), compute)
        self.cost.gradient_cache_hits += hit
        return {
            name: value.to(self.model.device) for name, value in found.items()
        }  # from disk they come to the CPU

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Count the time spent inside as search."""
        started = time.perf_counter()
        yield
        self.cost.search_seconds += time.perf_counter() - started

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the whole edit: seconds and the process's peak memory. It may be nested; the outermost
        counts.
        """
        if self._started is not None:
            yield
            return
        self._started = time.perf_counter()
        try:
            yield
            self.cost.seconds = self.elapsed()
            self.cost.peak_mb = peak_mb()
        finally:
            self._started = None

    def elapsed(self) -> float:
        """Return the seconds this edit took so far, those before it was killed and resumed included."""
        return self.earlier_seconds + (
            time.perf_counter() - self._started if self._started is not None else 0.0
        )


def peak_mb() -> float:
    """Return the process's peak resident memory so far in megabytes (Linux reports kilobytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def shared_cache(output_dir: Path) -> TensorCache:
    """Return the cache that all runs under one output folder share: gradients and embeddings of unedited
    models.
    """
    return TensorCache(output_dir / "cache")
