"""A LLaVA as a family: what it offers to methods and to a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Loss, Say
from razor_cli.data.sets import ConceptSets
from razor_cli.families.llava.board import AskedBoard
from razor_cli.families.llava.exam import AskedExam
from razor_cli.families.llava.losses import loss_of
from razor_cli.families.llava.opened import OpenedLlava
from razor_cli.families.llava.settings import AskedMetrics


@dataclass(kw_only=True)
class Llava(OpenedLlava):
    """One loaded model with its losses and scoreboard."""

    def loss(self, name: str, sets: ConceptSets) -> Loss:
        """Return a loss by name (losses.py). Raises ConfigError that lists the names there are."""
        return loss_of(self, sets, name)

    def board(
        self, sets: ConceptSets, settings: Any, cost: Cost, *, fast: bool, cache: Any = None
    ) -> AskedBoard:
        """Return the scoreboard over the validation pictures: what is answered, and the CLIP's view. Without
        settings of an exam a target that the model does not know is no error.
        """
        return AskedBoard(self, sets, settings or AskedMetrics(fa_min_base=0), cost, fast=fast)

    def exam(self, sets: ConceptSets, settings: Any, cache: Any, say: Say) -> AskedExam:
        """Return the evaluation over the evaluation pictures and the question sets of a run."""
        return AskedExam(family=self, sets=sets, settings=settings or AskedMetrics(), cache=cache, say=say)
