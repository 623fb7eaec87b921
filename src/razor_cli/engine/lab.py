"""What a method may ask for: gradients, the scoreboard, the seed; it counts what everything cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from razor_cli.contract.budget import give_back
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters_named
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Board, Family, Loss, Named, Say, Tick, TwoTowered
from razor_cli.contract.method import GradientPlan
from razor_cli.contract.sets import Part
from razor_cli.contract.strata import Agree
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.engine.probe import gradient_fit
from razor_cli.engine.strata import HALVES, Asked, Stream, in_strata, packed, unpacked
from razor_cli.runs.provenance import peak_rss_mb

SETS = 2  # gradients that a method holds together: g_f and g_r
BOARD = 2  # times what may be kept of inputs and of activations, which a scoreboard does
ENGINE = 3  # raise when a change here alters gradients or answers, so that cached ones are not taken for new


@dataclass(kw_only=True)
class Lab:
    """One model and its sets on the bench. `fast=False` is the slow reference engine without caches or
    replay.

    `sets` and `settings` (of the exam) are of whatever kind the family works with.
    """

    family: Family
    sets: Any
    settings: Any = None
    fast: bool = True
    cache: TensorCache | None = None
    seed: int = 0
    say: Say = lambda _: None
    cost: Cost = field(default_factory=Cost)
    resume_dir: Path | None = None  # where a training keeps its state; None: a killed one starts over
    code: str = ""  # version of the code that computes, for the state of a training
    earlier_seconds: float = field(default=0.0, init=False)  # spent before the edit was killed and resumed
    _started: float | None = field(default=None, init=False)
    _board: Board | None = field(default=None, init=False)
    _notes: list[str] = field(default_factory=list, init=False)  # of a scoreboard that was put away

    @property
    def board(self) -> Board:
        """Return the validation scoreboard, built on first use with the weights as they are then."""
        if self._board is None:  # loads examples: no part of the search
            self._board = self.family.board(
                self.sets, self.settings, self.cost, fast=self.fast, cache=self.cache
            )
        return self._board

    @property
    def notes(self) -> list[str]:
        """Return what the scoreboard has to say of how trials were judged, where there was one."""
        return self._notes if self._board is None else list(self._board.notes)

    def put_away(self) -> None:
        """Let the scoreboard go, with the activations it keeps, and give back what was freed: for whoever
        needs the memory next.
        """
        self._notes, self._board = self.notes, None
        give_back()

    @cached_property
    def editable(self) -> tuple[str, ...]:
        """Return the parameters that gradients are taken of: those that any component owns.

        Not one request's but the family's, so that methods, granularities and towers share cached gradients.
        """
        every = (c for g in Granularity for c in self.family.components(g, Towers.BOTH, True))
        return tuple(dict.fromkeys(p for c in every for p in c.params))

    def dual(self, tower: str = "") -> Any:
        """Return the two towers of a family that offers them (dual.view.DualEncoder)."""
        return cast(TwoTowered, self.family).dual(tower)

    def generator(self) -> torch.Generator:
        """Return a fresh random generator of the run's seed."""
        return torch.Generator().manual_seed(self.seed)

    def gradients(
        self,
        plan: GradientPlan,
        *,
        at_base: bool = True,
        sample: int | None = None,
        draw: int | None = None,
        agree: Agree | None = None,
    ) -> tuple[Named, Named]:
        """Return (g_f, g_r), the gradients of the forget and the retain loss at the current weights, for
        every parameter that may be edited.

        At the unedited weights they come from the disk cache where it has them. `sample` takes only the first
        so many examples of each set (growth rounds may be scored on a sample), or so many that the seed and
        the number `draw` draw. With an adaptive plan, a pass over whole sets ends once its halves `agree`.
        """
        with self._counting():
            parts: tuple[Part, Part] = (self.sets.forget, self.sets.retain)
            if draw is None:
                forget, retain = (part.head(sample) for part in parts)
            else:
                forget, retain = (part.sampled(sample, 1000 * self.seed + draw) for part in parts)
            asked = (Asked.to_forget(plan, forget), Asked.to_keep(plan, retain))
            if plan.adaptive is not None and agree is not None and sample is None:
                g_f, g_r = self._adaptive(asked, plan, agree, at_base)
            else:
                g_f, g_r = (self._gradient(a, plan.chunk, at_base) for a in asked)
            return g_f, g_r

    def forget_gradient(self, plan: GradientPlan, agree: Agree | None = None, beside: str = "") -> Named:
        """Return g_f at the unedited weights, alone: g_r is the same for every forget loss. `beside` tells
        what else decides whether halves `agree`.
        """
        with self._counting():
            asked = Asked.to_forget(plan, self.sets.forget)
            if plan.adaptive is not None and agree is not None:
                return self._adaptive([asked], plan, agree, True, beside)[0]
            return self._gradient(asked, plan.chunk, True)

    @contextmanager
    def _counting(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.cost.gradient_seconds += time.perf_counter() - started

    def _gradient(self, asked: Asked, chunk: int, at_base: bool) -> Named:
        """Return the gradient of a named loss over a part."""
        loss, part, tick = self.family.loss(asked.name, self.sets), asked.part, self._ticking(asked)

        def compute() -> Named:
            at_once = self._at_once(f"gradient of {asked.name}", loss, part, chunk, 1)
            found = loss.gradient(part, asked.batch, self.editable, tick, chunk=at_once)
            give_back()  # what activations left
            return found

        if not at_base or self.cache is None:
            return compute()
        found, hit = self.cache.get(content_key(self._key(asked, chunk)), compute)
        self.cost.gradient_cache_hits += hit
        return {n: v.to(self.family.device) for n, v in found.items()}  # from disk they come to the CPU

    def _adaptive(
        self, sets: Sequence[Asked], plan: GradientPlan, agree: Agree, at_base: bool, beside: str = ""
    ) -> list[Named]:
        """Return the gradients of several sets by as much of them as it takes until halves agree."""
        rule = plan.adaptive
        assert rule is not None

        def compute() -> Named:
            held, streams = SETS * HALVES + 1, []  # both halves of both, and the batch that is added
            for asked in sets:
                loss, tick = self.family.loss(asked.name, self.sets), self._ticking(asked)
                chunk = self._at_once(f"gradient of {asked.name}", loss, asked.part, plan.chunk, held)
                stream = Stream(
                    asked=asked, loss=loss, seed=self.seed, params=self.editable, tick=tick, chunk=chunk
                )
                streams.append(stream)
            found, taken = in_strata(streams, rule, agree)
            give_back()  # what activations left
            return packed(found, taken)

        if not at_base or self.cache is None:
            values, hit = compute(), False
        else:
            parts = [self._key(asked, plan.chunk) for asked in sets]
            decided = {"adaptive": repr(rule), "seed": self.seed, "beside": beside}
            values, hit = self.cache.get(content_key({"passes": parts} | decided), compute)
        self.cost.gradient_cache_hits += hit * len(sets)
        found, taken = unpacked(values, [a.which for a in sets], self.family.device)
        self.cost.passes += (taken,)
        return found

    def _ticking(self, asked: Asked) -> Tick:
        """Return what counts the examples of a pass, and says how far it is."""
        done = 0

        def tick(forwards: int, backwards: int) -> None:
            nonlocal done
            done += backwards
            self.tick(forwards, backwards)
            self.say(f"gradients: {done} of {len(asked.part)} pictures")

        return tick

    def _key(self, asked: Asked, chunk: int) -> dict[str, object]:
        """Return what a gradient at the unedited weights depends on."""
        loss = self.family.loss(asked.name, self.sets)
        known = unedited(self.family) | {"editable": self.editable, "loss": dict(loss.key)}
        part = {"set": asked.part.fingerprint(), "which": asked.which, "size": asked.batch, "chunk": chunk}
        return known | part

    def _at_once(self, what: str, loss: Loss, part: Part, most: int, sets: int) -> int:
        """Return how many examples a gradient takes at once beside so many sets of gradients that are yet to
        come, its own among them; no result depends on it.
        """
        budget = self.family.budget
        if budget is None or budget.total is None or not len(part):
            return most
        live = parameters_named(self.family, self.editable)
        sets += 0 if self.cache is not None else SETS  # those at the unedited weights are kept as well
        held = sets * sum(v.nbytes for v in live.values())
        return gradient_fit(budget, what, loss, part, self.editable, held=held, most=most, keeps=BOARD)

    def chunk(self, most: int) -> int:
        """Return how many examples a further gradient of like losses takes at once, at most `most`."""
        budget = self.family.budget
        fits = budget.fits if budget else {}
        known = [f.at_once for what, f in fits.items() if what.startswith("gradient")]
        return min([most, *known])

    def tick(self, forwards: int, backwards: int) -> None:
        """Count pictures sent through a tower."""
        self.cost.forwards += forwards
        self.cost.backwards += backwards

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
            with device_peak(self.family.device) as peak:
                yield
                self.cost.seconds = self.elapsed()
                self.cost.peak_mb, self.cost.device_mb = peak_rss_mb(), peak()
        finally:
            self._started = None

    def elapsed(self) -> float:
        """Return the seconds this edit took so far, those before it was killed and resumed included."""
        return self.earlier_seconds + (
            time.perf_counter() - self._started if self._started is not None else 0.0
        )


@contextmanager
def device_peak(device: str) -> Iterator[Callable[[], float]]:
    """Give a function that returns the peak of memory allocated on a GPU since the beginning, in MB; 0 on a
    CPU.
    """
    if not device.startswith("cuda"):
        yield lambda: 0.0
        return
    torch.cuda.reset_peak_memory_stats(device)
    yield lambda: torch.cuda.max_memory_allocated(device) / 2**20


def unedited(family: Family, weights: str | None = None) -> dict[str, object]:
    """Return what the answers of an unedited model depend on beside the question; `weights` is the hash of
    other ones that it holds.
    """
    return {
        "engine": ENGINE,
        "torch": torch.__version__,
        "device": family.device,
        "weights": weights or family.weights_hash(),
        "preparation": family.preparation(),
    }


def surroundings(key: Mapping[str, object]) -> dict[str, object]:
    """Return what of a whole model's key holds for whatever weights it has: the rest of the key says which
    they are, as the hash of a part's own does.
    """
    return {part: key[part] for part in ("engine", "torch", "device", "preparation")}


def shared_cache(output_dir: Path, limit: float | None = None) -> TensorCache:
    """Return the cache that all runs under one output folder share: gradients and embeddings of unedited
    models. It holds at most `limit` bytes.
    """
    return TensorCache(output_dir / "cache", limit)
