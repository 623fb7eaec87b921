"""SLUG's search for a step: from the unedited weights, doubled and bisected, or bisected below a bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from razor_cli.contract.components import Component
from razor_cli.contract.edit import Event
from razor_cli.contract.family import Metrics
from razor_cli.engine.saliency import Saliency
from razor_cli.methods.slug_choices import Bracket

# Of the published script: points of what must stay that a step may cost while it is still too small, and
# that end the search once the target is gone.
KEPT, ENOUGH = 1.0, 10.0


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One evaluated step of one tensor, or of one of each tower that move together."""

    leads: tuple[Saliency, ...]
    step_size: float  # of the first; the others move by the same share of their norm
    relative: float
    metrics: Metrics
    forgotten: bool

    @property
    def component(self) -> Component:
        """Return the tensor, the first of several."""
        return self.leads[0].component

    def events(self, base: Metrics, seconds: float) -> list[Event]:
        """Return the lines of the log, one for each tensor."""
        return [self._event(s, base, seconds) for s in self.leads]

    def _event(self, s: Saliency, base: Metrics, seconds: float) -> Event:
        event = s.event(0, "search")
        event.step_size = self.step_size * shares(self.leads)[self.leads.index(s)]
        event.relative_step, event.seconds = self.relative, seconds
        event.before, event.after = dict(base), dict(self.metrics)
        event.note = "forgotten" if self.forgotten else ""
        return event


def shares(leads: Sequence[Saliency]) -> list[float]:
    """Return the step of each tensor as a multiple of the first one's: all by one share of their norm."""
    units = [s.weight_norm / s.forget_norm for s in leads]
    return [u / units[0] for u in units]


def doubled(trial: Callable[[float], Trial], size: float, steps: int) -> list[Trial]:
    """Double the step until it forgets, then bisect for the smallest that does."""
    low, high, tried = 0.0, None, []
    for _ in range(steps):
        tried.append(trial(size))
        low, high = (low, size) if tried[-1].forgotten else (size, high)
        size = 2 * size if high is None else (low + high) / 2
    return tried


def bounded(
    trial: Callable[[float], Trial], size: float, steps: int, bound: float, kept: Callable[[Trial], float]
) -> list[Trial]:
    """Bisect between nothing and `bound` first steps, as the published script does.

    `kept` is what a trial kept of what must stay, in points against the unedited model. Forgotten at a cost:
    a smaller step. Not forgotten and nothing lost: a larger one. Neither branch of the script covers what is
    not forgotten and has cost already, or forgotten at no cost: there the step shrinks.
    """
    low, high, tried = 0.0, bound * size, []
    for _ in range(steps):
        tried.append(trial(size))
        lost = -kept(tried[-1])
        if tried[-1].forgotten and abs(lost) < ENOUGH:
            break
        if not tried[-1].forgotten and lost < KEPT:
            low = size
        else:
            high = size
        size = (low + high) / 2
    return tried


def stepped_by(
    rule: Bracket,
    trial: Callable[[float], Trial],
    size: float,
    steps: int,
    bound: float,
    kept: Callable[[Trial], float],
) -> list[Trial]:
    """Return the trials of a search by its rule."""
    if rule is Bracket.DOUBLE:
        return doubled(trial, size, steps)
    return bounded(trial, size, steps, bound, kept)
