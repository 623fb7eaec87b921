"""SLUG: one tensor, one gradient, one step (ICML 2025; reference code CSIPlab/SLUG)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import BOARD
from razor_cli.contract.goals import Meaning
from razor_cli.contract.method import GradientPlan
from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from razor_cli.contract.family import Board, Family, Metrics, Named
    from razor_cli.engine.lab import Lab
    from razor_cli.engine.saliency import Saliency

USUAL_VALUE = {"fa_top5": 0.0, "fa_top1": 0.0}  # of a criterion without a value of its own
ELSE = 50.0


class Align(StrEnum):
    """Alignment of the two gradients: |cos| as the code has it, or the signed cosine."""

    ABS = "abs"
    SIGNED = "signed"


class Candidates(StrEnum):
    """Which tensors may be edited: the code's rule, or attention and MLP weights only."""

    CODE = "code"
    ATTN_MLP_ONLY = "attn_mlp_only"


class Pick(StrEnum):
    """How one trial is chosen among all: the reference leaves it to the reader."""

    BEST_UTILITY = "best_utility"
    DEEPEST = "deepest"


class RetainPath(StrEnum):
    """How retain pictures reach their gradient: in the order of the list as they are evaluated, or shuffled
    and cropped at random, as the published code's data path hands out what it trains on.
    """

    LISTED = "listed"
    TRAINING = "training"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One evaluated step of one tensor."""

    component: Component
    step_size: float
    relative: float
    metrics: Metrics
    forgotten: bool


@dataclass(frozen=True, kw_only=True)
class Slug:
    """Hyper-parameters of SLUG; each knob is explained in conf/method/slug.yaml."""

    needs: ClassVar[frozenset[str]] = frozenset({BOARD})

    name: str = "slug"  # label in tables and folder of the runs
    forget_loss: str = "cosine"  # a name that the model's family has a loss for
    align: Align = Align.ABS
    candidates: Candidates = Candidates.CODE
    towers: Towers = Towers.BOTH
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

    def __post_init__(self) -> None:
        ranges = {
            "search_steps": (1, 64),
            "init_rel": (0, 100),
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

        family = lab.family
        with lab.timed():
            self._metric(lab.board)  # refused before any gradient is taken
            plan = GradientPlan(
                forget_loss=self.forget_loss,
                forget_batch=self.forget_batch,
                retain_batch=self.retain_batch,
                retain_seed=lab.seed if self.retain_path is RetainPath.TRAINING else None,
            )
            forget, retain = lab.gradients(plan)
            front = self._front(family, forget, retain)
            log = [s.event(0, "select") for s in front]
            trials: list[Trial] = []
            for number, s in enumerate(front):
                lab.say(f"searching tensor {number + 1} of {len(front)}: {s.component.name}")
                started = time.perf_counter()
                found = self._search(s, forget, lab)
                trials += found
                seconds = (time.perf_counter() - started) / len(found)
                log += [_trial_event(s, t, lab.board.base, seconds) for t in found]
            chosen = self._pick(trials, forget, lab)
            values, moved = self._values(chosen, forget, lab) if chosen else ({}, [])
        for step, event in enumerate(log):
            event.step = step
        note = "no trial met the criterion"
        if chosen:
            note = f"chose {chosen.component.name} at {chosen.relative:.3g} of its norm"
        idle = self._is_forgotten(lab.board.base, self._metric(lab.board))
        return Edit(
            change=Weights(values=values),
            components=[c.name for c in moved],
            log=log,
            cost=lab.cost,
            notes=[NOTHING_TO_FORGET, note] if idle else [note],
        )

    def _metric(self, board: Board) -> str:
        """Return the metric of the criterion; refuse one that the scoreboard does not give for these sets."""
        goal = board.goals.get(self.criterion)
        names = goal.metrics[0] if goal else (self.criterion,)
        found = next((n for n in names if n in board.base), None)
        if found is None:
            raise ConfigError(
                f"method.criterion={self.criterion}: these sets do not give this metric (fa_top5 needs at "
                "least 6 classes in the label space, fa_top1 2)",
                allowed=", ".join(board.base),
                fix="method.criterion=m1_mean, or name more classes: data.class_names=[...]",
            )
        return found

    def _is_forgotten(self, metrics: Metrics, metric: str) -> bool:
        most = USUAL_VALUE.get(metric, ELSE) if self.criterion_value is None else self.criterion_value
        return metrics[metric] <= most

    def _front(self, family: Family, forget: Named, retain: Named) -> list[Saliency]:
        """Return the Pareto front of each tower: high |g_f|/|theta| against low alignment."""
        from razor_cli.engine.saliency import measure, pareto_front

        every = family.components(Granularity.TENSOR, self.towers, include_projections=True)
        if self.candidates is Candidates.ATTN_MLP_ONLY:
            allowed = {n for names in family.quantizable().linear.values() for n in names}
            every = [c for c in every if c.name in allowed]
        live, front = parameters(family), []
        for tower in dict.fromkeys(c.tower for c in every):
            own = [c for c in every if c.tower == tower]
            scored = measure(own, live, forget, retain, alpha=0.0, epsilon=0.0, power=1)
            scored = [s for s in scored if s.forget_norm > 0 and s.weight_norm > 0]  # zero gradient: 0
            alignment = [abs(s.cosine) if self.align is Align.ABS else s.cosine for s in scored]
            front += [scored[i] for i in pareto_front([s.phi for s in scored], alignment)]
        return front

    def _directions(self, group: list[Component], forget: Named, lab: Lab) -> list[list[Tensor]]:
        """Return what `stepped` subtracts: for a loss that forgets upwards, minus its gradient."""
        from razor_cli.contract.choices import Direction

        up = lab.family.loss(self.forget_loss, lab.sets).direction is Direction.UP
        return [[-v if up else v for v in c.views(forget)] for c in group]

    def _search(self, s: Saliency, forget: Named, lab: Lab) -> list[Trial]:
        """Bracket and bisect the step of one tensor, always from the unedited weights (sheet 3.1 step 5)."""
        from razor_cli.engine.search import stepped

        group = self._group(s.component, lab.family)
        directions = self._directions(group, forget, lab)
        size, low, high = self.init_rel * s.weight_norm / s.forget_norm, 0.0, None
        board, metric, trials = lab.board, self._metric(lab.board), []
        with lab.searching():
            board.prepare(group)
            for _ in range(self.search_steps):
                values = stepped(lab.family, group, directions, [size] * len(group))
                metrics = board.trial(values, group, wanted={metric} if self.fast else None)
                trial = Trial(
                    component=s.component,
                    step_size=size,
                    relative=size * s.forget_norm / s.weight_norm,
                    metrics=metrics,
                    forgotten=self._is_forgotten(metrics, metric),
                )
                trials.append(trial)
                low, high = (low, size) if trial.forgotten else (size, high)
                size = 2 * size if high is None else (low + high) / 2
        return trials

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
        """Return the mean of what is kept; of goals that count losses only, 100 minus the points lost."""
        goals = [lab.board.goals[name] for name in self.utility]
        names = [next((n for n in g.metrics[0] if n in lab.board.base), None) for g in goals]
        metrics = trial.metrics
        if any(n is not None and n not in metrics for n in names):
            values, group = self._values(trial, forget, lab)
            with lab.searching():
                lab.board.prepare(group)
                metrics = lab.board.trial(values, group)
        kept = [
            100.0 - max(0.0, lab.board.base[n] - metrics[n]) if g.meaning is Meaning.KEPT else metrics[n]
            for g, n in zip(goals, names, strict=True)
            if n is not None
        ]
        return sum(kept) / len(kept) if kept else 0.0

    def _group(self, component: Component, family: Family) -> list[Component]:
        """Return the tensors that move with one: itself, or with `siblings` the block's q/k/v or both MLP
        matrices.
        """
        return family.siblings(component) if self.siblings else [component]

    def _values(self, trial: Trial, forget: Named, lab: Lab) -> tuple[dict[str, Tensor], list[Component]]:
        from razor_cli.engine.search import stepped

        family = lab.family
        group = self._group(trial.component, family)
        directions = self._directions(group, forget, lab)
        values = stepped(family, group, directions, [trial.step_size] * len(group))
        return {n: v.to(family.storage_dtype(n)) for n, v in values.items()}, group


def _trial_event(s: Saliency, trial: Trial, base: Metrics, seconds: float) -> Event:
    event = s.event(0, "search")
    event.step_size, event.relative_step, event.seconds = trial.step_size, trial.relative, seconds
    event.before, event.after = dict(base), dict(trial.metrics)
    event.note = "forgotten" if trial.forgotten else ""
    return event
