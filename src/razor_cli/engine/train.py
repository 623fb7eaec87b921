"""The training loop that all trained methods share; a method brings its losses as an Objective.

The loop owns weights, optimiser, schedule, validation after every epoch, the choice of the epoch and the
state on disk that lets a killed run go on. Weights train in fp32, also of a model that computes in a coarser
dtype; what is validated and kept is rounded to the dtype of the file first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence

import torch

from razor_cli.contract.components import swapped
from razor_cli.contract.edit import Edit, Event
from razor_cli.contract.family import Named
from razor_cli.engine.changes import Weights
from razor_cli.engine.choices import Keep
from razor_cli.engine.lab import Lab
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.search import Aim
from razor_cli.engine.train_keep import Choice, TracingAim
from razor_cli.engine.train_settings import BIAS, MAX_LOG_SCALE, SCALE, Optimised, rate
from razor_cli.engine.train_state import (
    Fine,
    Progress,
    Shelf,
    borrowed,
    generator_of,
    make_optimizer,
    rounded,
    state_key,
)


def train(lab: Lab, settings: Optimised, objective: Objective) -> Edit:
    """Train on the objective and return the edit of the epoch that `settings.keep` names.

    The model's weights, flags, gradients and modes and the random state are as before afterwards, also after
    a failure. An objective without steps, lr=0 or epochs=0 leave the model unchanged: an edit without values.

    Raises:
        ConfigError: `method.exclude` names no parameter or leaves none to train; a keep rule that this method
        cannot serve.

    """
    names = settings.trained(lab.family)
    if settings.lr == 0 or settings.epochs == 0:
        return Edit(
            change=Weights(),
            cost=lab.cost,
            notes=[f"lr={settings.lr:g}, epochs={settings.epochs}: nothing was trained"],
        )
    with lab.timed(), borrowed(lab.family, names) as params:
        return _Run(lab, settings, objective, params).run()


class _Run:
    """State of one training. The model carries the fp32 weights that train, or what they are in the dtype
    that it computes in; `borrowed` restores it.
    """

    def __init__(self, lab: Lab, settings: Optimised, objective: Objective, live: Named) -> None:
        self.family, self.lab, self.settings, self.objective = lab.family, lab, settings, objective
        self.fine = Fine(live)
        self.params = self.fine.params
        self.before = {n: p.detach().clone() for n, p in self.params.items()}
        self.has_bias = any(n == BIAS for n, _ in lab.family.module.named_parameters())
        self.optimizer = make_optimizer(self.params, settings)
        taxonomy = settings.judged and lab.sets.taxonomy
        self.base: dict[str, float] = {}
        if settings.judged:
            self.base = dict(lab.board.rescore()) if taxonomy else dict(lab.board.base)
        self.choice = Choice(
            rule=settings.rule,
            aim=Aim.against(self.base, lab.board.goals if settings.judged else {}, settings.wanted, {}),
            tracing=TracingAim.of(self.base, settings.wanted),
        )
        self.shelf = Shelf(lab.resume_dir, state_key(lab, settings))
        self.progress = Progress(metrics=self.base)
        if taxonomy and not self.choice.tracing and settings.rule is Keep.CLOSEST_TO_TARGET:
            self.progress.notes.append(
                "the unedited model is never right on one level of names: epochs are judged by M1 and M5"
            )

    def run(self) -> Edit:
        self._resume()
        if not self.progress.epoch:
            with torch.no_grad():
                self.objective.begin(self.params)
        self.fine.show()
        while self.progress.epoch < self.settings.epochs and not self.progress.ended:
            number = self.progress.epoch + 1
            if self.objective.stop(number):
                self.progress.notes.append(f"stopped before epoch {number} by the method's own rule")
                break
            steps = self.objective.epoch(number, generator_of(self.lab.seed, number))
            if not steps:
                break
            self._epoch(number, steps)
            if number < self.settings.epochs and not self.progress.ended:
                self.shelf.save(self.params, self.optimizer, self.choice, self.progress, self.lab)
        edit = self._edit()
        self.shelf.clear()
        return edit

    def _resume(self) -> None:
        found = self.shelf.load(self.params, self.optimizer, self.choice, self.lab)
        if self.shelf.damaged:
            self.progress.notes.append("the state of an interrupted run was damaged on disk: it started over")
        if found:
            self.progress = found
            self.progress.notes.append(f"went on after epoch {found.epoch} of a run that was interrupted")

    def _epoch(self, number: int, steps: Sequence[Step]) -> None:
        started = time.perf_counter()
        total = self.settings.epochs * len(steps)
        losses: list[float] = []
        for i, step in enumerate(steps):
            learning_rate = rate(self.settings, (number - 1) * len(steps) + i, total)
            losses.append(self._step(step, learning_rate))
            self.lab.say(
                f"epoch {number} of {self.settings.epochs}: step {i + 1} of {len(steps)}, loss "
                f"{losses[-1]:.4g}"
            )
            if not math.isfinite(losses[-1]):
                self._refuse(number, f"the loss became {losses[-1]} in step {i + 1}")
                return
        self.lab.cost.gradient_seconds += time.perf_counter() - started
        self._validate(number, sum(losses) / len(losses), learning_rate, time.perf_counter() - started)
        self.progress.epoch = number

    def _step(self, step: Step, learning_rate: float) -> float:
        """Take one step and return its loss; weights stay when the loss is not finite."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        with torch.enable_grad():
            loss = step.loss()
        self.lab.cost.forwards += step.pictures + step.forwards
        self.lab.cost.backwards += step.pictures
        value = float(loss.detach())
        if not math.isfinite(value) or not loss.requires_grad:  # a loss that no trained weight has a part in
            return value
        loss.backward()
        self.fine.take_gradients()
        self.objective.before_step(self.params)
        self.optimizer.step()
        with torch.no_grad():
            if SCALE in self.params and not self.has_bias:
                self.params[SCALE].clamp_(0, MAX_LOG_SCALE)
            self.objective.after_step(self.params, self.optimizer)
        self.fine.show()
        return value

    def _validate(self, number: int, loss: float, learning_rate: float, seconds: float) -> None:
        """Score the rounded weights on validation pictures, where these judge, and offer them to the rule."""
        with torch.no_grad():
            metrics = self.objective.measured(number)
            ready = rounded(
                self.family,
                self.objective.finish(self.before, {n: p.detach() for n, p in self.params.items()}),
            )
        if not all(bool(torch.isfinite(v).all()) for v in ready.values()):
            self._refuse(number, "weights are no longer finite in the dtype of the file")
            return
        started = time.perf_counter()
        if self.settings.judged:
            with self.lab.searching(), swapped(self.family, ready):
                metrics |= self.lab.board.rescore()
            self.lab.cost.evaluations += 1
        if not all(math.isfinite(v) for v in metrics.values()):
            self._refuse(number, "validation metrics are not finite")
            return
        share, relative = self._moved(ready)
        self.progress.log.append(
            Event(
                step=number,
                action="epoch",
                component="all trained weights",
                step_size=learning_rate,
                relative_step=relative,
                before=self.progress.metrics,
                after=metrics,
                seconds=seconds + time.perf_counter() - started,
                note=f"loss {loss:.6g}; {100 * share:.3g} % of the weights changed",
            )
        )
        self.progress.metrics = metrics
        stored = {
            n: v.to(self.family.storage_dtype(n))
            for n, v in ready.items()
            if not torch.equal(v, self.before[n])
        }
        self.choice.offer(number, metrics, stored)

    def _moved(self, ready: Named) -> tuple[float, float]:
        """Return the share of entries that differ from the unedited ones, and the relative norm of the
        difference.
        """
        changed = sum(int((v != self.before[n]).sum()) for n, v in ready.items())
        squares = sum(float((v - self.before[n]).double().square().sum()) for n, v in ready.items())
        weights = sum(float(self.before[n].double().square().sum()) for n in ready)
        return changed / sum(v.numel() for v in ready.values()), (
            squares / weights
        ) ** 0.5 if weights else 0.0

    def _refuse(self, number: int, reason: str) -> None:
        self.progress.log.append(
            Event(step=number, action="refuse", before=self.progress.metrics, note=reason)
        )
        self.progress.notes.append(f"training ended in epoch {number}: {reason}")
        self.progress.ended = True

    def _edit(self) -> Edit:
        notes, chosen = list(self.progress.notes), self.choice
        if self.progress.log and not chosen.epoch:
            notes.append("every epoch diverged: the model is unchanged")
        elif chosen.epoch:
            notes.append(
                f"kept epoch {chosen.epoch} of {self.progress.epoch} by {self.settings.rule.value}: "
                f"{chosen.why}"
            )
        order = [c.name for c in self.family.tensors() if c.name in chosen.values]
        device = self.family.device
        return Edit(
            change=Weights(values={n: chosen.values[n].to(device) for n in order}),
            components=order,
            log=self.progress.log,
            cost=self.lab.cost,
            notes=notes,
        )
