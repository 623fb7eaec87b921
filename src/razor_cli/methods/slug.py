"""SLUG: one tensor, one gradient, one step (ICML 2025; reference code CSIPlab/SLUG)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar

from torch import Tensor

from razor_cli.contract.components import Component, Granularity, Tower, Towers, parameters
from razor_cli.contract.edit import Event
from razor_cli.contract.method import Edit
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.gradients import Named
from razor_cli.engine.lab import GradientPlan, Lab
from razor_cli.engine.saliency import Saliency, measure, pareto_front
from razor_cli.engine.search import Metrics, kept_utility, stepped
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip


class Align(StrEnum):
    """Alignment of the two gradients: |cos| as the code has it, or the signed cosine."""

    ABS = "abs"
    SIGNED = "signed"


class Candidates(StrEnum):
    """Which tensors may be edited: the code's rule, or attention and MLP weights only."""

    CODE = "code"
    ATTN_MLP_ONLY = "attn_mlp_only"


class Criterion(StrEnum):
    """When a trial counts as forgotten."""

    TOP5_ZERO = "top5_zero"
    TOP1_ZERO = "top1_zero"
    M1_BELOW = "m1_below"


class Pick(StrEnum):
    """How one trial is chosen among all: the reference leaves it to the reader."""

    BEST_UTILITY = "best_utility"
    DEEPEST = "deepest"


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

    families: ClassVar[tuple[str, ...]] = ("clip",)
    stochastic: ClassVar[bool] = False

    name: str = "slug"  # label in tables and folder of the runs
    align: Align = Align.ABS
    candidates: Candidates = Candidates.CODE
    towers: Towers = Towers.BOTH
    search_steps: int = 10
    init_rel: float = 0.1
    criterion: Criterion = Criterion.TOP5_ZERO
    criterion_value: float = 50.0
    pick: Pick = Pick.BEST_UTILITY
    siblings: bool = False
    fast: bool = True
    forget_batch: int = 16
    retain_batch: int = 16

    def __post_init__(self) -> None:
        ranges = {
            "search_steps": (1, 64),
            "init_rel": (0, 100),
            "criterion_value": (0, 100),
            "forget_batch": (2, 65536),
            "retain_batch": (2, 65536),
        }
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(
                    f"method.{name}: {getattr(self, name)} is out of range", allowed=f"{low} to {high}"
                )

    def edit(self, model: Clip, sets: ConceptSets, lab: Lab) -> Edit:
        """Return the best single-tensor step along +g_f on the Pareto front of both towers."""
        self._check_classes(len(sets.class_names))
        with lab.timed():
            forget, retain = lab.gradients(
                GradientPlan(forget_batch=self.forget_batch, retain_batch=self.retain_batch)
            )
            front = self._front(model, forget, retain)
            log = [_event("select", s) for s in front]
            trials: list[Trial] = []
            for number, s in enumerate(front):
                lab.say(f"searching tensor {number + 1} of {len(front)}: {s.component.name}")
                started = time.perf_counter()
                found = self._search(model, s, forget, lab)
                trials += found
                log += [
                    _trial_event(s, t, lab.board.base, (time.perf_counter() - started) / len(found))
                    for t in found
                ]
            chosen = self._pick(trials, model, forget, lab)
            values, moved = self._values(chosen, model, forget) if chosen else ({}, [])
        for step, event in enumerate(log):
            event.step = step
        note = (
            f"chose {chosen.component.name} at {chosen.relative:.3g} of its norm"
            if chosen
            else "no trial met the criterion"
        )
        return Edit(values=values, components=[c.name for c in moved], log=log, cost=lab.cost, notes=[note])

    def _check_classes(self, count: int) -> None:
        """Refuse a criterion that fewer classes than this can never, or always, meet."""
        needed = {Criterion.TOP5_ZERO: 6, Criterion.TOP1_ZERO: 2, Criterion.M1_BELOW: 0}[self.criterion]
        if count < needed:
            raise ConfigError(
                f"method.criterion={self.criterion} needs at least {needed} classes in the label space",
                found=f"{count}",
                fix="method.criterion=m1_below, or name more classes: data.class_names=[...]",
            )

    def _front(self, model: Clip, forget: Named, retain: Named) -> list[Saliency]:
        """Return the Pareto front of each tower: high |g_f|/|theta| against low alignment."""
        every = model.components(Granularity.TENSOR, self.towers, include_projections=True)
        if self.candidates is Candidates.ATTN_MLP_ONLY:
            allowed = set(model.quantizable())
            every = [c for c in every if c.name in allowed]
        front = []
        for tower in Tower:
            scored = (
                measure(
                    [c for c in every if c.tower is tower],
                    parameters(model),
                    forget,
                    retain,
                    alpha=0.0,
                    epsilon=0.0,
                    power=1,
                )
                if any(c.tower is tower for c in every)
                else []
            )
            scored = [
                s for s in scored if s.forget_norm > 0 and s.weight_norm > 0
            ]  # zero gradient: importance 0
            alignment = [abs(s.cosine) if self.align is Align.ABS else s.cosine for s in scored]
            front += [scored[i] for i in pareto_front([s.phi for s in scored], alignment)]
        return front

    def _search(self, model: Clip, s: Saliency, forget: Named, lab: Lab) -> list[Trial]:
        """Bracket and bisect the step of one tensor, always from the unedited weights (sheet 3.1 step 5)."""
        group = self._group(s.component, model)
        directions = [
            [-v for v in c.views(forget)] for c in group
        ]  # stepped() subtracts; forgetting adds +g_f
        size, low, high = self.init_rel * s.weight_norm / s.forget_norm, 0.0, None
        board, trials = lab.board, []
        with lab.searching():
            board.prepare(group)
            for _ in range(self.search_steps):
                values = stepped(model, group, directions, [size] * len(group))
                metrics = board.trial(values, group, forget_only=self.fast and lab.fast)
                forgotten = self._forgotten(metrics)
                trials.append(
                    Trial(
                        component=s.component,
                        step_size=size,
                        relative=size * s.forget_norm / s.weight_norm,
                        metrics=metrics,
                        forgotten=forgotten,
                    )
                )
                low, high = (low, size) if forgotten else (size, high)
                size = 2 * size if high is None else (low + high) / 2
        return trials

    def _forgotten(self, metrics: Metrics) -> bool:
        if self.criterion is Criterion.TOP5_ZERO:
            return metrics["fa_top5"] == 0
        if self.criterion is Criterion.TOP1_ZERO:
            return metrics["fa_top1"] == 0
        return metrics.get("m1", metrics["m1_generic"]) <= self.criterion_value

    def _pick(self, trials: list[Trial], model: Clip, forget: Named, lab: Lab) -> Trial | None:
        """Return the forgotten trial of highest utility (mean of M5 and generic M4); ties go to the smaller
        relative step.

        With the fast search the utility of forgotten trials is measured here, and only there.
        """
        forgotten = [t for t in trials if t.forgotten]
        if self.pick is Pick.DEEPEST:
            return max(
                forgotten,
                key=lambda t: (t.component.tower is Tower.TEXT, t.component.layer, -t.relative),
                default=None,
            )
        utility: Callable[[Trial], float] = lambda t: self._utility(t, model, forget, lab)  # noqa: E731
        return max(
            ((utility(t), -t.relative, i, t) for i, t in enumerate(forgotten)), default=(0, 0, 0, None)
        )[3]

    def _utility(self, trial: Trial, model: Clip, forget: Named, lab: Lab) -> float:
        metrics = trial.metrics
        if "util" not in metrics:
            values, group = self._values(trial, model, forget)
            with lab.searching():
                lab.board.prepare(group)
                metrics = lab.board.trial(values, group)
        return (kept_utility(metrics, lab.board.base) + metrics["m4_generic"]) / 2

    def _group(self, component: Component, model: Clip) -> list[Component]:
        """Return the tensors that move with one: itself, or with `siblings` the block's q/k/v or both MLP
        matrices.
        """
        if not self.siblings:
            return [component]
        kind = next((k for k in (".mlp.", ".self_attn.", ".attn.") if k in component.name), None)
        if kind is None or "out_proj" in component.name:
            return [component]
        stem = component.name[: component.name.index(kind) + len(kind)]
        every = model.components(Granularity.TENSOR, Towers.BOTH)
        return [c for c in every if c.name.startswith(stem) and "out_proj" not in c.name]

    def _values(self, trial: Trial, model: Clip, forget: Named) -> tuple[dict[str, Tensor], list[Component]]:
        group = self._group(trial.component, model)
        directions = [[-v for v in c.views(forget)] for c in group]
        values = stepped(model, group, directions, [trial.step_size] * len(group))
        return {n: v.to(model.storage_dtype(n)) for n, v in values.items()}, group


def _event(action: str, s: Saliency) -> Event:
    c = s.component
    return Event(
        step=0,
        action=action,
        component=c.name,
        kind=c.kind,
        tower=c.tower.value,
        phi=s.phi,
        weight_norm=s.weight_norm,
        forget_norm=s.forget_norm,
        retain_norm=s.retain_norm,
        cosine=s.cosine,
    )


def _trial_event(s: Saliency, trial: Trial, base: Metrics, seconds: float) -> Event:
    event = _event("search", s)
    event.step_size, event.relative_step, event.seconds = trial.step_size, trial.relative, seconds
    event.before, event.after = dict(base), dict(trial.metrics)
    event.note = "forgotten" if trial.forgotten else ""
    return event
