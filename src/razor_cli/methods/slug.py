"""SLUG: one tensor, one gradient, one step (ICML 2025; reference code CSIPlab/SLUG)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

from razor_cli.contract.choices import Direction, Granularity, Towers
from razor_cli.contract.components import Component
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import BOARD, RETAIN
from razor_cli.contract.goals import Meaning
from razor_cli.contract.method import GradientPlan
from razor_cli.errors import ConfigError
from razor_cli.methods.slug_choices import (
    Align,
    Along,
    Bracket,
    Candidates,
    Captions,
    Pick,
    RetainPath,
    Searched,
)

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.family import Board, Family, Metrics, Named
    from razor_cli.engine.lab import Lab
    from razor_cli.engine.saliency import Saliency
    from razor_cli.methods.slug_search import Trial

USUAL_VALUE = {"fa_top5": 0.0, "fa_top1": 0.0}  # of a criterion without a value of its own
ELSE = 50.0


@dataclass(frozen=True, kw_only=True)
class Slug:
    """Hyper-parameters of SLUG; each knob is explained in conf/method/slug.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({BOARD})

    name: str = "slug"  # label in tables and folder of the runs
    forget_loss: str = "cosine"  # a name that the model's family has a loss for
    retain_loss: str = RETAIN  # likewise
    sign: Along = Along.PAPER
    align: Align = Align.ABS
    candidates: Candidates = Candidates.CODE
    towers: Towers = Towers.BOTH
    searched: Searched = Searched.FRONT
    bracket: Bracket = Bracket.DOUBLE
    first_bound: float = 10.0  # of bracket=bounded
    search_steps: int = 10
    init_rel: float = 0.1
    criterion: str = "fa_top5"  # a metric or a goal of the scoreboard
    criterion_value: float | None = None
    pick: Pick = Pick.BEST_UTILITY
    utility: list[str] = field(default_factory=lambda: ["m5", "m4_drop"])  # goals
    siblings: bool = False
    fast: bool = True
    forget_batch: int = 16
    retain_batch: int = 16
    retain_path: RetainPath = RetainPath.LISTED
    forget_text: Captions = Captions.CAPTION
    retain_text: Captions = Captions.CAPTION

    def __post_init__(self) -> None:
        ranges = {
            "search_steps": (1, 64),
            "init_rel": (0, 100),
            "first_bound": (1, 1000),
            "forget_batch": (2, 65536),
            "retain_batch": (2, 65536),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed=f"{low} to {high}"
                )

    @property
    def stochastic(self) -> bool:
        """Tell whether another seed gives another edit: only a training's path draws."""
        return self.retain_path is RetainPath.TRAINING

    def edit(self, lab: Lab) -> Edit:
        """Return the best single-tensor step along +g_f on the Pareto front of every tower."""
        from razor_cli.engine.changes import Weights
        from razor_cli.engine.search import NOTHING_TO_FORGET
        from razor_cli.methods.slug_front import searched

        family = lab.family
        with lab.timed():
            self._metric(lab.board)  # refused before any gradient is taken
            forget, retain = lab.gradients(self._plan(lab))
            front = self._front(family, forget, retain)
            log = [s.event(0, "select") for s in front]
            trials: list[Trial] = []
            groups = searched(family, front, self.searched, forget, retain)
            for number, leads in enumerate(groups):
                names = ", ".join(s.component.name for s in leads)
                lab.say(f"searching tensor {number + 1} of {len(groups)}: {names}")
                started = time.perf_counter()
                found = self._search(leads, forget, lab)
                trials += found
                seconds = (time.perf_counter() - started) / len(found)
                log += [e for t in found for e in t.events(lab.board.base, seconds)]
            chosen = self._pick(trials, forget, lab)
            values, moved = self._values(chosen, forget, lab) if chosen else ({}, [])
        for step, event in enumerate(log):
            event.step = step
        note = "no trial met the criterion"
        if chosen:
            names = ", ".join(s.component.name for s in chosen.leads)
            note = f"chose {names} at {chosen.relative:.3g} of its norm"
        idle = self._is_forgotten(lab.board.base, self._metric(lab.board))
        return Edit(
            change=Weights(values=values),
            components=[c.name for c in moved],
            log=log,
            cost=lab.cost,
            notes=[NOTHING_TO_FORGET, note] if idle else [note],
        )

    def _plan(self, lab: Lab) -> GradientPlan:
        called = lab.sets.called or lab.sets.target
        return GradientPlan(
            forget_loss=self.forget_loss,
            retain_loss=self.retain_loss,
            forget_batch=self.forget_batch,
            retain_batch=self.retain_batch,
            retain_seed=lab.seed if self.retain_path is RetainPath.TRAINING else None,
            forget_caption=called if self.forget_text is Captions.CONCEPT else None,
            retain_caption=called if self.retain_text is Captions.CONCEPT else None,
        )

    def _metric(self, board: Board) -> str:
        """Return the metric of the criterion; refuse one that the scoreboard does not give for these sets."""
        goal = board.goals.get(self.criterion)
        names = goal.metrics[0] if goal else (self.criterion,)
        found = next((n for n in names if n in board.base), None)
        if found is None:
            falls = (n for n, g in board.goals.items() if g.meaning is Meaning.AT_MOST)
            other = next((n for n in falls if set(board.goals[n].metrics[0]) & board.base.keys()), "NAME")
            why = "of k classes or more, k + 1 must be in the label space: data.class_names=[...]"
            raise ConfigError(
                f"method.criterion={self.criterion}: there is no such metric for these sets",
                allowed=", ".join(board.base),
                found="; ".join(board.notes) or why,
                fix=f"method.criterion={other} method.criterion_value=NUMBER (left out: {ELSE:g})",
            )
        return found

    def _is_forgotten(self, metrics: Metrics, metric: str) -> bool:
        most = USUAL_VALUE.get(metric, ELSE) if self.criterion_value is None else self.criterion_value
        return metrics[metric] <= most

    def _front(self, family: Family, forget: Named, retain: Named) -> list[Saliency]:
        from razor_cli.methods.slug_front import front_of

        return front_of(family, forget, retain, self.towers, self.candidates, self.align)

    def _directions(self, group: list[Component], forget: Named, lab: Lab) -> list[list[Tensor]]:
        """Return what `stepped` subtracts: for a loss that forgets upwards, minus its gradient."""
        up = lab.family.loss(self.forget_loss, lab.sets).direction is Direction.UP
        ascends = up is (self.sign is Along.PAPER)
        return [[-v if ascends else v for v in c.views(forget)] for c in group]

    def _search(self, leads: Sequence[Saliency], forget: Named, lab: Lab) -> list[Trial]:
        """Bracket and bisect the step, always from the unedited weights (sheet 3.1 step 5)."""
        from razor_cli.engine.search import stepped
        from razor_cli.methods.slug_search import Trial, stepped_by

        first, leads = leads[0], tuple(leads)
        group, sizes = self._moving(leads, lab.family)
        directions = self._directions(group, forget, lab)
        board, metric = lab.board, self._metric(lab.board)
        wanted = {metric} if self.fast and self.bracket is Bracket.DOUBLE else None

        def trial(size: float) -> Trial:
            values = stepped(lab.family, group, directions, [size * s for s in sizes])
            metrics = board.trial(values, group, wanted=wanted)
            return Trial(
                leads=leads,
                step_size=size,
                relative=size * first.forget_norm / first.weight_norm,
                metrics=metrics,
                forgotten=self._is_forgotten(metrics, metric),
            )

        def kept(trial: Trial) -> float:
            return self._kept(trial.metrics, board) - self._kept(board.base, board)

        size = self.init_rel * first.weight_norm / first.forget_norm
        with lab.searching():
            board.prepare(group)
            return stepped_by(self.bracket, trial, size, self.search_steps, self.first_bound, kept)

    def _pick(self, trials: list[Trial], forget: Named, lab: Lab) -> Trial | None:
        """Return the forgotten trial of highest utility (mean of M5 and generic M4); ties go to the smaller
        relative step.

        With the fast search the utility of forgotten trials is measured here, and only there.
        """
        forgotten = [t for t in trials if t.forgotten]
        if self.pick is Pick.DEEPEST:
            every = lab.family.components(Granularity.TENSOR, Towers.BOTH)
            towers = list(dict.fromkeys(c.tower for c in every))
            return max(
                forgotten,
                key=lambda t: (towers.index(t.component.tower), t.component.layer, -t.relative),
                default=None,
            )
        utility: Callable[[Trial], float] = lambda t: self._utility(t, forget, lab)  # noqa: E731
        return max(
            ((utility(t), -t.relative, i, t) for i, t in enumerate(forgotten)), default=(0, 0, 0, None)
        )[3]

    def _utility(self, trial: Trial, forget: Named, lab: Lab) -> float:
        """Return what a trial keeps; where the search looked at forgetting only, it is looked at here."""
        metrics = trial.metrics
        if any(n not in metrics for _, n in self._utilities(lab.board)):
            values, group = self._values(trial, forget, lab)
            with lab.searching():
                lab.board.prepare(group)
                metrics = lab.board.trial(values, group)
        return self._kept(metrics, lab.board)

    def _utilities(self, board: Board) -> list[tuple[Meaning, str]]:
        """Return the metrics that tell what is kept, of those that these sets give."""
        goals = [board.goals[name] for name in self.utility]
        names = [next((n for n in g.metrics[0] if n in board.base), None) for g in goals]
        return [(g.meaning, n) for g, n in zip(goals, names, strict=True) if n is not None]

    def _kept(self, metrics: Metrics, board: Board) -> float:
        """Return the mean of what is kept; of goals that count losses only, 100 minus the points lost."""
        kept = [
            100.0 - max(0.0, board.base[n] - metrics[n]) if meaning is Meaning.KEPT else metrics[n]
            for meaning, n in self._utilities(board)
        ]
        return sum(kept) / len(kept) if kept else 0.0

    def _group(self, component: Component, family: Family) -> list[Component]:
        """Return the tensors that move with one: itself, or with `siblings` the block's q/k/v or both MLP
        matrices.
        """
        return family.siblings(component) if self.siblings else [component]

    def _moving(self, leads: Sequence[Saliency], family: Family) -> tuple[list[Component], list[float]]:
        """Return the tensors that move, and the step of each as a multiple of the first one's."""
        from razor_cli.methods.slug_search import shares

        group: list[Component] = []
        sizes: list[float] = []
        for lead, share in zip(leads, shares(leads), strict=True):
            moving = self._group(lead.component, family)
            group += moving
            sizes += [share] * len(moving)
        return group, sizes

    def _values(self, trial: Trial, forget: Named, lab: Lab) -> tuple[dict[str, Tensor], list[Component]]:
        from razor_cli.engine.search import stepped

        family = lab.family
        group, sizes = self._moving(trial.leads, family)
        directions = self._directions(group, forget, lab)
        values = stepped(family, group, directions, [trial.step_size * s for s in sizes])
        return {n: v.to(family.storage_dtype(n)) for n, v in values.items()}, group
