"""MME: two yes/no questions about each picture; a sub-task scores accuracy plus the share of pictures with
both right, 200 at most (Fu et al., arXiv:2306.13394).
"""

from __future__ import annotations

import math
import re
import string
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from razor_cli.errors import DataError
from razor_cli.families.llava.benchmarks.items import (
    AskModel,
    Item,
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
from razor_cli.metrics.stats import Interval, bootstrap_mean, bootstrap_ratio, wilson

Floats = NDArray[np.float64]

PERCEPTION = (
    "existence",
    "count",
    "position",
    "color",
    "posters",
    "celebrity",
    "scene",
    "landmark",
    "artwork",
    "OCR",
)
COGNITION = ("commonsense_reasoning", "numerical_calculation", "text_translation", "code_reasoning")
ENDING = " Please answer yes or no."
SHORT = "\nAnswer the question using a single word or phrase."
NEW_TOKENS = 16
HIGHEST = 200.0  # of a sub-task


class Parser(StrEnum):
    """How an answer is taken for yes or no."""

    PREFIX4 = "prefix4"  # yes, then no, in the first four characters (lmms-eval)
    WORDS = "words"  # one of the words and not the other, anywhere (VLMEvalKit)


class Wording(StrEnum):
    """How a question says how to answer."""

    SHORT = "short"  # LLaVA's: a single word or phrase
    GIVEN = "given"  # as the set has it: please answer yes or no


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Which sub-tasks a set has, and which of perception are also left out of the sum, since they ask for
    names: forgetting one lowers them by design.
    """

    perception: tuple[str, ...] = PERCEPTION
    cognition: tuple[str, ...] = COGNITION
    without: tuple[str, ...] = ("celebrity",)

    def sums(self) -> dict[str, tuple[str, ...]]:
        """Return the sub-tasks of each sum that has any."""
        rest = tuple(t for t in self.perception if t not in self.without)
        left_out = {f"perception_without_{'_'.join(self.without)}": rest} if self.without else {}
        sums = {"perception": self.perception, "cognition": self.cognition, **left_out}
        return {name: members for name, members in sums.items() if members}


def parsed(answer: str, parser: Parser) -> str:
    """Return yes, no, or nothing where an answer is neither."""
    return _by_prefix(answer) if parser is Parser.PREFIX4 else _by_words(answer)


def _by_prefix(answer: str) -> str:
    plain = answer.lower().strip().replace(".", "")
    if len(plain) == 1:
        return {"y": "yes", "n": "no"}.get(plain, "")
    return next((word for word in ("yes", "no") if word in plain[:4]), "")


def _by_words(answer: str) -> str:
    words = set(re.sub(f"[{re.escape(string.punctuation)}]", " ", answer.lower()).split())
    found = words & {"yes", "no"}
    return found.pop() if len(found) == 1 else ""


def check(items: Sequence[Item], where: str) -> None:
    """Raise DataError unless every answer is yes or no and every picture of a sub-task has two questions."""
    for item in items:
        if item.answer not in ("yes", "no"):
            raise DataError(
                f"{where}: the right answer to question '{item.key}' is neither yes nor no",
                allowed="Yes, No",
                found=item.answer or "nothing",
            )
    odd = {g: n for g, n in Counter(i.group for i in items).items() if n != 2}
    if odd:
        named = ", ".join(f"{group} ({count})" for group, count in list(odd.items())[:5])
        raise DataError(
            f"{where}: {len(odd)} pictures have not exactly two questions",
            allowed="two rows for each picture of a sub-task",
            found=named,
            fix="take the whole file as it was published",
        )


def run(
    ask: AskModel,
    questions: QuestionSet,
    parts: Parts,
    *,
    parser: Parser = Parser.PREFIX4,
    wording: Wording = Wording.SHORT,
    seed: int = 0,
) -> Outcome:
    """Ask all questions and return answers and scores."""
    asked = [_asked(i.question, wording) for i in questions.items]
    pairs = [(i.picture, q) for i, q in zip(questions.items, asked, strict=True)]
    answers = answered(ask, questions.album, pairs, NEW_TOKENS)
    records = []
    for item, question, answer in zip(questions.items, asked, answers, strict=True):
        said = parsed(answer, parser)
        records.append(record_of(item, question, answer, said, right=said == item.answer))
    scores = scored(records, parts, seed)
    return Outcome(name=questions.name, mode=parser.value, records=tuple(records), scores=scores)


def _asked(question: str, wording: Wording) -> str:
    return question if wording is Wording.GIVEN else question.replace(ENDING, "") + SHORT


def scored(records: Sequence[Record], parts: Parts, seed: int = 0) -> Scores:
    """Return sums, sub-tasks with their `/acc` and `/acc+`, and the share of answers that are neither yes
    nor no.

    Shares have Wilson's interval. A sub-task's is a bootstrap over its pictures; those of its sub-tasks are
    joined to a sum's as Newcombe joins those of independent samples.
    """
    values: dict[str, Interval] = {}
    for name, of_task in grouped(records, lambda r: r.category).items():
        pictures = list(grouped(of_task, lambda r: r.group).values())
        both = sum(all(r.right for r in pair) for pair in pictures)
        values[name] = bootstrap_mean([worth(p) for p in pictures], seed, within=(0.0, HIGHEST))
        values[f"{name}/acc"] = share(of_task)
        values[f"{name}/acc+"] = wilson(both, len(pictures)).scaled(100)
    sums, reasons = _sums(values, parts)
    return Scores(
        values={**sums, **values, "unparsed": share(records, lambda r: not r.parsed)}, reasons=reasons
    )


def worth(pair: Sequence[Record]) -> float:
    """Return what one picture adds to its sub-task's mean: 0, 50, or 200."""
    return 100.0 * np.mean([r.right for r in pair]).item() + 100.0 * all(r.right for r in pair)


def drops(before: Sequence[Record], after: Sequence[Record], parts: Parts, seed: int = 0) -> Scores:
    """Return by how much sums and sub-tasks fell from one state to another, over the same pictures. A sum's
    interval is a bootstrap over all of its pictures.
    """
    fell = {name: first - second for name, (first, second) in _both(before, after).items()}
    values = {n: bootstrap_mean(f, seed, within=(-HIGHEST, HIGHEST)) for n, f in fell.items()}
    sums, reasons = {}, {}
    for name, members in parts.sums().items():
        if absent := [t for t in members if t not in values]:
            reasons[name] = _absent(absent)
        else:
            most = HIGHEST * float(_shares([fell[t] for t in members]).max())
            pooled = _pooled([fell[t] for t in members])
            sums[name] = bootstrap_mean(pooled, seed, within=(-most, most))
    return Scores(values={**sums, **values}, reasons=reasons)


def lost(before: Sequence[Record], after: Sequence[Record], parts: Parts, seed: int = 0) -> Scores:
    """Return the share of each sum that was lost from one state to another, in percent of what it was, over
    the same pictures.
    """
    values: dict[str, Interval] = {}
    reasons: dict[str, str] = {}
    worths = _both(before, after)
    for name, members in parts.sums().items():
        if absent := [t for t in members if t not in worths]:
            reasons[name] = _absent(absent)
            continue
        first, second = (_pooled([worths[t][i] for t in members]) for i in (0, 1))
        if not first.any():
            reasons[name] = "there was nothing to lose"
            continue
        most = HIGHEST * float(_shares([worths[t][0] for t in members]).max())
        values[name] = bootstrap_ratio((first - second) / most, first / most, seed).scaled(100)
    return Scores(values=values, reasons=reasons)


def _both(before: Sequence[Record], after: Sequence[Record]) -> dict[str, tuple[Floats, Floats]]:
    """Return what each picture of a sub-task is worth in two states."""
    paired(before, after)
    rest, found = grouped(after, lambda r: r.group), {}
    for name, of_task in grouped(before, lambda r: r.category).items():
        pictures = grouped(of_task, lambda r: r.group)
        first = np.array([worth(pair) for pair in pictures.values()])
        found[name] = (first, np.array([worth(rest[group]) for group in pictures]))
    return found


def _shares(tasks: Sequence[Floats]) -> Floats:
    """Return by how much pictures count, so that the mean over all is the sum of the sub-tasks' means."""
    total = sum(map(len, tasks))
    return np.concatenate([np.full(len(t), total / len(t)) for t in tasks])


def _pooled(tasks: Sequence[Floats]) -> Floats:
    """Return values of pictures whose mean is the sum of the sub-tasks' means: one sample, so that what no
    picture shows is bounded by all of them together.
    """
    return np.concatenate(list(tasks)) * _shares(tasks)


def _sums(tasks: dict[str, Interval], parts: Parts) -> tuple[dict[str, Interval], dict[str, str]]:
    sums, reasons = {}, {}
    for name, members in parts.sums().items():
        if absent := [t for t in members if t not in tasks]:
            reasons[name] = _absent(absent)
        else:
            sums[name] = _sum([tasks[t] for t in members])
    return sums, reasons


def _absent(tasks: Sequence[str]) -> str:
    return f"no questions of {', '.join(tasks)}"


def _sum(parts: Sequence[Interval]) -> Interval:
    """Return the sum of independent values; each distance to an end is the root of the sum of squares."""
    value, n = sum(p.value for p in parts), sum(p.n for p in parts)
    known = [(p.value, p.low, p.high) for p in parts if p.low is not None and p.high is not None]
    if len(known) < len(parts):
        return Interval(value, None, None, n)
    below = math.hypot(*(v - low for v, low, _ in known))
    above = math.hypot(*(high - v for v, _, high in known))
    return Interval(value, value - below, value + above, n)
