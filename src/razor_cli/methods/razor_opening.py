"""RAZOR's gradients at the unedited weights, from which every attempt begins."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from razor_cli.contract.components import Component
from razor_cli.contract.family import Named
from razor_cli.contract.method import GradientPlan
from razor_cli.contract.strata import Agree
from razor_cli.engine.lab import Lab
from razor_cli.methods.razor_halves import agreeing
from razor_cli.methods.razor_settings import RazorSettings


class Opening:
    """(g_f, g_r) at the unedited weights. `held` is None until they are taken, and once they were let go."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.held: tuple[Named, Named] | None = None
        self._plan: GradientPlan | None = None  # of those that are held
        self._first: tuple[GradientPlan, Agree] | None = None  # how those of the first attempt were taken

    def take(self, method: RazorSettings, components: Sequence[Component]) -> None:
        """Take the gradients of an attempt, as far as they are not held.

        Every attempt has g_r of the first one, whether it is held or comes from the disk: an adaptive pass
        over both sets would end elsewhere, and the edit would depend on what was kept.
        """
        plan, agree = method.plan, partial(agreeing, method, self.lab, components)
        if self._first is None:
            self._first = plan, agree()
        (first, alike), told = self._first, self.lab.cost.passes
        if self.held is None:
            self._plan = plan if plan.adaptive is None else first
            self.held = self.lab.gradients(self._plan, agree=alike)
            self.lab.cost.passes = told or self.lab.cost.passes  # one that is read again is not another one
        if self._plan != plan:
            retain, self.held = self.held[1], None
            forget = self.lab.forget_gradient(plan, agree(retain), beside=repr(first))
            self._plan, self.held = plan, (forget, retain)

    def let_go(self) -> None:
        """Give up what is held, where the disk keeps it."""
        if self.lab.cache is not None:
            self.held = None
