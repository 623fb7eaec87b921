"""How far a component moves: what a step of 1 means, and which step is taken (RAZOR section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from razor_cli.contract.family import Board, Metrics
from razor_cli.engine.saliency import Saliency
from razor_cli.engine.search import Aim, Found, bisect, norm
from razor_cli.errors import ConfigError
from razor_cli.methods.razor_choices import Budget, StepScale
from razor_cli.methods.razor_settings import RazorSettings


def unit(method: RazorSettings, s: Saliency, direction: Sequence[Tensor]) -> float:
    """Return what a step of 1 means: the component's own norm along the direction, or the direction
    as it is.
    """
    length = norm(direction)
    if method.step_scale is StepScale.ABSOLUTE:
        return 1.0
    return s.weight_norm / length if length > 0 else 0.0


def allowance(method: RazorSettings, rank: int) -> float:
    """Return how much of the utility allowance may be gone after a step: each may spend half of what those
    before it left.
    """
    return 1 - 0.5 ** (rank + 1) if method.budget is Budget.SHARED else 1.0


def sized(
    method: RazorSettings,
    aim: Aim,
    trial: Callable[[float], Metrics],
    share: float,
    before: Metrics,
    reach: float,
) -> Found:
    """Return the step up to `reach` x step_size that Algorithm 2 finds."""
    upper = reach * method.step_size
    steps, rule = method.search_steps, method.search_return
    return bisect(trial, upper, steps, aim, share, rule, before, method.must_improve)


def guiding(board: Board, guide: Mapping[str, float | None]) -> Aim:
    """Return the aim of steps that are guided by other goals than the Target: what comes down as there, and
    what no trial and no edit may cost. Raises ConfigError where nothing would come down.
    """
    aim = Aim.of(board, guide, guide)
    if not aim.forget:
        raise ConfigError(
            "method.guide: none of its goals says what must come down on these sets",
            allowed=", ".join(board.base),
            found=", ".join(guide),
            fix="method.guide={} (steps are judged by method.target then)",
        )
    return aim
