"""The question sets of a run: as they are published, where a folder was given, or drawn in their shape for a
stand-in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from razor_cli.data.sets import ConceptSets
from razor_cli.families.llava.benchmarks import gqa, mmbench, mme
from razor_cli.families.llava.benchmarks.items import AskModel, Outcome, QuestionSet, Record
from razor_cli.families.llava.benchmarks.published import read
from razor_cli.families.llava.benchmarks.shaped import (
    MME_PARTS,
    Stock,
    check_apart,
    gqa_shaped,
    looked_at,
    mmbench_shaped,
    mme_shaped,
)
from razor_cli.families.llava.settings import AskedMetrics

SHAPED = "_shaped"  # behind the name of a set that is drawn


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One question set: `metric` is what its scores are called, `mme` or `mme_shaped`."""

    metric: str
    questions: QuestionSet
    parts: mme.Parts
    wording: mmbench.Wording

    @property
    def kind(self) -> str:
        """Return which of the three it is, or has the shape of."""
        return self.metric.removesuffix(SHAPED)

    def run(self, ask: AskModel) -> tuple[Record, ...]:
        """Ask everything."""
        outcome: Outcome
        if self.kind == "mme":
            outcome = mme.run(ask, self.questions, self.parts)
        elif self.kind == "gqa":
            outcome = gqa.run(ask, self.questions)
        else:
            outcome = mmbench.run(ask, self.questions, wording=self.wording)
        return outcome.records


def question_sets(settings: AskedMetrics, sets: ConceptSets, *, stand_in: bool) -> list[Asked]:
    """Return the sets that are asked; of a model that is none of ours only those whose folder was given."""
    wording = mmbench.Wording(settings.mmbench_wording.value)
    found = []
    for name, questions in _all(settings, sets, stand_in).items():
        drawn = name.endswith(SHAPED)
        if drawn:
            check_apart(questions, sets)
        parts = MME_PARTS if drawn else mme.Parts()
        found.append(Asked(metric=name, questions=questions, parts=parts, wording=wording))
    return found


def _all(settings: AskedMetrics, sets: ConceptSets, stand_in: bool) -> dict[str, QuestionSet]:
    stock = Stock(split=sets.judged_split, avoid=looked_at(sets))
    drawn: dict[str, tuple[int, Any]] = {
        "mme": (settings.mme_pictures, mme_shaped),
        "gqa": (settings.gqa_questions, gqa_shaped),
        "mmbench": (settings.mmbench_questions, mmbench_shaped),
    }
    found = {}
    for name, (count, draw) in drawn.items():
        folder = settings.published.get(name)
        if folder is not None:
            whole = read(name, folder)
            found[name] = whole if settings.questions is None else whole.subset(settings.questions, 0)
        elif stand_in and count:
            found[name + SHAPED] = draw(0, count, stock)
    return found


def notes_of(asked: Sequence[Asked]) -> list[str]:
    """Return what a reader must know of the sets."""
    sizes = [f"{a.questions.name} {len(a.questions)}" for a in asked]
    told = [f"questions: {', '.join(sizes)}"] if sizes else []
    if any(a.kind == "mmbench" and a.wording is mmbench.Wording.TAUGHT_TEXT for a in asked):
        told.append("MMBench-shaped: options are asked for by their text, as the stand-in learned no letters")
    return told + [note for a in asked for note in a.questions.notes]
