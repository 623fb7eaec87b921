"""GQA: open questions with an answer of a word or a phrase, right where it is the same text."""

from __future__ import annotations

import string
from collections.abc import Sequence
from enum import StrEnum

from razor_cli.families.llava.benchmarks.items import (
    AskModel,
    Outcome,
    QuestionSet,
    Record,
    Scores,
    answered,
    grouped,
    paired,
    record_of,
    share,
)
from razor_cli.metrics.stats import bootstrap_ratio, paired_difference

SHORT = "\nAnswer the question using a single word or phrase."
NEW_TOKENS = 16
_WITHOUT = str.maketrans("", "", string.punctuation)


class Match(StrEnum):
    """What counts as the same text. Neither takes articles or numbers apart."""

    IGNORE_CASE_PUNCT = "ignore_case_punct"  # case and punctuation are ignored (lmms-eval)
    LOWER_STRIP = "lower_strip"  # case and blanks around are (VLMEvalKit)


def plain(text: str, match: Match) -> str:
    """Return a text as it is compared."""
    lowered = text.lower()
    return (lowered.translate(_WITHOUT) if match is Match.IGNORE_CASE_PUNCT else lowered).strip()


def run(ask: AskModel, questions: QuestionSet, *, match: Match = Match.IGNORE_CASE_PUNCT) -> Outcome:
    """Ask all questions and return answers and scores."""
    asked = [(i.picture, i.question + SHORT) for i in questions.items]
    answers = answered(ask, questions.album, asked, NEW_TOKENS)
    records = []
    for item, (_, question), answer in zip(questions.items, asked, answers, strict=True):
        said = plain(answer, match)
        records.append(record_of(item, question, answer, said, right=said == plain(item.answer, match)))
    return Outcome(name=questions.name, mode=match.value, records=tuple(records), scores=scored(records))


def scored(records: Sequence[Record]) -> Scores:
    """Return accuracy in percent, of all questions and of each structural type there is."""
    types = {f"accuracy/{n}": share(r) for n, r in grouped(records, lambda r: r.category).items() if n}
    return Scores(values={"accuracy": share(records), **types})


def drops(before: Sequence[Record], after: Sequence[Record]) -> Scores:
    """Return by how many points accuracy fell from one state to another, over the same questions."""
    first, second = _both(before, after)
    return Scores(values={"accuracy": paired_difference(first, second).scaled(100)})


def lost(before: Sequence[Record], after: Sequence[Record], seed: int = 0) -> Scores:
    """Return the share of right answers that was lost from one state to another, in percent."""
    first, second = _both(before, after)
    if not any(first):
        return Scores(values={}, reasons={"accuracy": "there was nothing to lose"})
    fell = [float(a) - float(b) for a, b in zip(first, second, strict=True)]
    return Scores(values={"accuracy": bootstrap_ratio(fell, first, seed).scaled(100)})


def _both(before: Sequence[Record], after: Sequence[Record]) -> tuple[list[bool], list[bool]]:
    paired(before, after)
    rest = {r.group: r.right for r in after}
    return [r.right for r in before], [rest[r.group] for r in before]
