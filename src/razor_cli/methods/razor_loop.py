"""RAZOR's order of operations: score and select, blend and step component by component, grow
(Algorithm 1).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from razor_cli.contract.components import Component
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import Metrics, Named
from razor_cli.engine.changes import Weights
from razor_cli.engine.lab import Lab
from razor_cli.engine.saliency import Saliency
from razor_cli.engine.search import NOTHING_TO_FORGET, Aim, Found, norm, stepped
from razor_cli.methods.razor_blend import Blend
from razor_cli.methods.razor_body import Body, State
from razor_cli.methods.razor_choices import GrowDraw, GrowUpdate, Order, Ranking, Step
from razor_cli.methods.razor_halves import agreeing
from razor_cli.methods.razor_opening import Opening
from razor_cli.methods.razor_pick import chosen, ranks, scored, staged
from razor_cli.methods.razor_settings import RazorSettings
from razor_cli.methods.razor_step import allowance, guiding, sized, unit
from razor_cli.methods.razor_trim import trimmed


class Loop:
    """State of one RAZOR edit. The model carries the growing edit inside `run` and is restored
    when it ends.
    """

    def __init__(self, method: RazorSettings, lab: Lab) -> None:
        self.method, self.family, self.lab = method, lab.family, lab
        self.components = self.family.components(
            method.granularity, method.towers, method.include_projections
        )
        self.stages = staged(method, self.components)
        self.blend = Blend(method, lab)
        self.generator = lab.generator()
        self.log: list[Event] = []
        self.notes: list[str] = []
        self._moved_since = False
        self.opening = Opening(lab)
        self._gradients: tuple[Named, Named] | None = None  # at the weights of the last step or renewal

    def run(self) -> Edit:
        """Compute the edit."""
        self.body = Body(self.family)
        with self.lab.timed(), self.body.borrowed():
            self.opening.take(self.method, self.stages[0])
            self._set_aims()
            self.notes += [NOTHING_TO_FORGET] if self.aim.idle else []
            self._attempt()
            self._retry()
        return Edit(
            change=Weights(values=self.body.values),
            components=[c.name for c in self.body.moved],
            log=self.log,
            cost=self.lab.cost,
            notes=self.notes,
        )

    def _set_aims(self) -> None:
        """Set what the edit must reach, and what guides the search for steps: the same, or goals that cost
        less to look at.
        """
        board, method = self.lab.board, self.method
        whole = method.ranking is Ranking.TARGET
        self.aim = self.near = replace(Aim.of(board, method.target, method.floor), whole=whole)
        self.only: dict[str, set[str]] = {}  # what the board is asked for beside the weights
        if method.guide:
            self.near = replace(guiding(board, method.guide), whole=whole)
        if method.guide or method.step is Step.FIXED:  # such a step is taken whatever else it costs
            self.only = {"wanted": self.near.looked_at}

    def _attempt(self) -> None:
        """Search an edit from the unedited weights, by their gradients."""
        self._gradients = None  # those of an attempt before need no room any more
        self.opening.take(self.method, self.stages[0])
        self._gradients, self._moved_since = self.opening.held, False
        self._stage_two()
        if self.method.step is Step.SEARCH:
            self._grow()
            self._finish()

    def _finish(self) -> None:
        """Look at the whole edit where its steps were guided by less, and scale it down."""
        with self.lab.searching():
            if self.only and self.body.moved:
                self.lab.board.commit(self.body.moved)
            line = trimmed(self.method, self.aim, self.lab, self.body)
        if line:
            line.step = len(self.log)
            self.log.append(line)
        if self.only and self.body.moved and self.aim.met(self.lab.board.current):
            self._stop("Target met on validation data")

    def _retry(self) -> None:
        """While the Target is missed, begin again from the unedited weights as `retries` say; keep the best
        edit.
        """
        first, board = self.method, self.lab.board
        for number, retry in enumerate(first.retries if first.step is Step.SEARCH else (), 2):
            if self.aim.met(board.current):
                return
            self.method, how = retry.applied(first), f"attempt {number}: {retry}"
            self.blend.method = self.method
            self.log.append(Event(step=len(self.log), action="retry", after=dict(board.current), note=how))
            before, reached, mark = self.body.state, dict(board.current), len(self.log)
            self._put(({}, [], []))
            self._set_aims()
            self._attempt()
            better = self.aim.met(board.current) or self.aim.score(board.current) > self.aim.score(reached)
            if not better:
                self._put(before)
            for line in (
                self.log[: mark - 1] if better else self.log[mark:]
            ):  # of an edit that is not the result
                if line.action != "retry" and not line.action.startswith("dropped"):
                    line.action = f"dropped {line.action}"
            self.notes.append(f"Target missed; {how}: {'kept' if better else 'no better'}")

    def _put(self, state: State) -> None:
        """Hold another edit of the original weights; what enters its blocks may have been dropped."""
        if touched := self.body.put(state):
            self.lab.board.prepare(touched)
            self.lab.board.commit(touched)

    def _stage_two(self) -> None:
        rated = self._scored(self.stages[0])
        found = chosen(self.method, rated, self.generator)
        self.lab.say(f"selected {len(found)} of {len(rated)} components")
        for s in found:
            self.log.append(s.event(len(self.log), "select"))
        (self._together if self.method.order is Order.JOINT else self._one_by_one)(found)

    def _one_by_one(self, found: Sequence[Saliency]) -> None:
        """Search a step for each component, the most salient first (Algorithm 1)."""
        for rank, selected in enumerate(found):
            s = selected
            if rank and self.method.refresh_gradients:
                self._renew()
                s = self._scored([selected.component])[0]
            self._step([s], allowance(self.method, rank), f"component {rank + 1} of {len(found)}")
            self.body.active.append(s.component)
            if self._done():
                return

    def _together(self, found: Sequence[Saliency]) -> None:
        """Search one relative step for all components at once; again along renewed gradients, if there are to
        be any.

        Of K components each moves by a K-th of a step, so that together they go about as far as one would
        alone. Each round looks at steps up to `joint_decay` of what the one before did: less is left to do,
        and less may be spent on it.
        """
        self.body.active += [s.component for s in found]
        for number in range(self.method.joint_rounds if self.method.refresh_gradients else 1):
            if number:
                self._renew()
            group = self._scored([s.component for s in found])
            self._step(
                group,
                allowance(self.method, number),
                f"joint round {number + 1}",
                self.method.joint_decay**number / len(group),
            )
            if self._done():
                return

    def _done(self) -> bool:
        if met := self.method.early_stop and self.near.met(self.lab.board.current):
            reached = "guiding goals met" if self.method.guide else "Target met on validation data"
            self._stop(NOTHING_TO_FORGET if self.aim.idle else reached)
        return met

    def _grow(self) -> None:
        """Add a component in each round while the Target is missed; every stage has as many rounds."""
        rounds = [stage for stage in self.stages for _ in range(self.method.grow_rounds)]
        for number, stage in enumerate(rounds):
            if self.near.met(self.lab.board.current):
                return
            self.lab.say(f"growth round {number + 1} of {len(rounds)}")
            self._renew()
            names = {c.name for c in self.body.active}
            outside = [c for c in stage if c.name not in names]
            rated = self._scored(outside)
            ranking = ranks(self.method, rated, self.generator)
            best = max(range(len(rated)), key=ranking.__getitem__, default=None)
            if best is None or rated[best].phi <= 0:
                if stage is not self.stages[-1]:
                    continue
                return self._stop(
                    "no component left with a positive saliency" if outside else "every component is in use"
                )
            self.log.append(rated[best].event(len(self.log), "grow"))
            group = [rated[best]]
            if self.method.grow_update is GrowUpdate.ALL_ACTIVE:
                group = self._scored(self.body.active) + group
            self._step(group, 1.0, f"growth round {number + 1}")
            self.body.active.append(rated[best].component)
        if not self.near.met(self.lab.board.current):
            missed = f"Target not met after {len(rounds)} growth rounds"
            self._stop("guiding goals not met in the rounds there are" if self.method.guide else missed)

    def _renew(self) -> None:
        """Take the gradients at the weights as they are now; a refused step left both as they were. Those
        before are let go first, and those of the unedited weights where the disk keeps them.
        """
        if self._moved_since:
            anew = self.method.grow_draw is GrowDraw.ANEW
            self._gradients = None
            self.opening.let_go()
            self._gradients = self.lab.gradients(
                self.method.plan,
                at_base=False,
                sample=self.method.grow_sample,
                draw=len(self.log) if anew else None,
                agree=agreeing(self.method, self.lab, self.stages[0]),
            )
            self._moved_since = False

    def _stop(self, reason: str) -> None:
        self.notes += [reason] if reason not in self.notes else []
        self.log.append(
            Event(step=len(self.log), action="stop", after=dict(self.lab.board.current), note=reason)
        )

    def _scored(self, components: Sequence[Component]) -> list[Saliency]:
        return scored(self.method, self.family, components, *self._held())

    def _held(self) -> tuple[Named, Named]:
        """Return (g_f, g_r) as they were taken last; nobody else holds them, so that they can be let go."""
        assert self._gradients is not None
        return self._gradients

    def _step(self, group: Sequence[Saliency], share: float, what: str, reach: float = 1.0) -> None:
        """Search the step of one component (or of a group that moves together) up to `reach` x step_size,
        apply it, log it.
        """
        started = time.perf_counter()
        board, components = self.lab.board, [s.component for s in group]
        base = {n: self.body.original[n] for n in self.body.values}
        directions = [self.blend.direction(s, *self._held(), base, self._moved_since) for s in group]
        before = dict(board.current)
        units = [unit(self.method, s, d) for s, d in zip(group, directions, strict=True)]

        def trial(size: float) -> Metrics:
            values = stepped(self.family, components, directions, [size * u for u in units])
            return board.trial(values, components, lost=lambda m: not self.near.stable(m, share), **self.only)

        if self.method.step is Step.FIXED:
            size = reach * self.method.step_size
            board.prepare(components)
            seen = self._apply(components, directions, [size * u for u in units]) if size > 0 else before
            self.lab.cost.evaluations += 1
            found = Found(step_size=size, metrics=seen, trials=1)
        else:
            with self.lab.searching():
                board.prepare(components)
                found = sized(self.method, self.near, trial, share, before, reach)
            if found.step_size > 0:
                self._apply(components, directions, [found.step_size * u for u in units])
        self.lab.say(f"{what}: {components[-1].name} step {found.step_size:.3g}")
        for s, d, u in zip(group, directions, units, strict=True):
            line = s.event(len(self.log), "apply" if found.step_size > 0 else "refuse")
            line.step_size = found.step_size * u
            line.relative_step = found.step_size * u * norm(d) / s.weight_norm if s.weight_norm else 0.0
            line.before = {n: before[n] for n in found.metrics}  # others may be of an earlier look
            line.after = dict(found.metrics)
            line.seconds = (time.perf_counter() - started) / len(group)
            self.log.append(line)

    def _apply(
        self, components: Sequence[Component], directions: Sequence[Sequence[Tensor]], sizes: Sequence[float]
    ) -> Metrics:
        self._moved_since = True
        self.body.take(stepped(self.family, components, directions, sizes), components)
        with self.lab.searching():
            return self.lab.board.commit(components, **self.only)
