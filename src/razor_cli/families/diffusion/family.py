"""A pipeline of Stable Diffusion as a family: what it offers to methods and to a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Board, Change, Exam, Loss, Say
from razor_cli.data.shots import DrawnSets
from razor_cli.engine.cache import TensorCache
from razor_cli.families.diffusion.losses import loss_of
from razor_cli.families.diffusion.opened import OpenedPipeline

if TYPE_CHECKING:
    from razor_cli.families.diffusion.supplies import Supplies


@dataclass(kw_only=True)
class Diffusion(OpenedPipeline):
    """One loaded pipeline with its losses, scoreboard and evaluation."""

    def loss(self, name: str, sets: DrawnSets) -> Loss:
        """Return a loss by name (losses.py). Raises ConfigError that lists the names there are."""
        return loss_of(self, sets, name)

    def board(
        self, sets: DrawnSets, settings: Any, cost: Cost, *, fast: bool, cache: TensorCache | None = None
    ) -> Board:
        """Return the scoreboard over the validation shots."""
        from razor_cli.families.diffusion.board import DrawnBoard

        return DrawnBoard(self, sets, settings, cost, fast=fast, cache=cache)

    def exam(self, sets: DrawnSets, settings: Any, cache: TensorCache | None, say: Say) -> Exam:
        """Return the evaluation over the evaluation shots."""
        from razor_cli.families.diffusion.exam import DrawnExam

        return DrawnExam(family=self, sets=sets, settings=settings, cache=cache, say=say)

    def supplies(self, cache: Any) -> Supplies:
        """Return what data asks the unedited model for; `cache` keeps the pictures."""
        from razor_cli.families.diffusion.supplies import Supplies

        return Supplies(self, cache)

    def without_effect(self, change: Change, sets: DrawnSets) -> str | None:
        """Return why a change does nothing to the target, or None where it does something."""
        from razor_cli.families.diffusion.effect import why_idle

        return why_idle(self, change, sets)
