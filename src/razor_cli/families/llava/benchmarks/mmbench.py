"""MMBench: a question with options counts where it is answered right in every rotation of them (Liu et al.,
arXiv:2307.06281). Offline: no judge model reads what cannot be told, so the score is a lower bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

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
from razor_cli.families.llava.benchmarks.options import chosen
from razor_cli.families.llava.wording import OPTIONS, SAY_LETTER, SAY_TEXT
from razor_cli.metrics.stats import paired_difference

MILLION = 1_000_000  # rotations of a question have its index plus multiples of it
NEW_TOKENS = 16
SELECT = "Please select the correct answer from the options above. \n"


class Wording(StrEnum):
    """How options are put and what is asked for."""

    LETTER = "letter"  # lmms-eval's: the letter
    SELECT = "select"  # VLMEvalKit's
    TAUGHT = "taught"  # the letter, in the layout that the stand-in was taught: without the blank line
    TAUGHT_TEXT = "taught_text"  # the same for the text of an option, where letters were not learned


def prompt(item: Item, wording: Wording) -> str:
    """Return a question with its hint and options, as a model is asked."""
    listed = "".join(f"{letter}. {text}\n" for letter, text in item.options)
    if wording is Wording.SELECT:
        hint = f"Hint: {item.hint}\n" if item.hint else ""
        return f"{hint}Question: {item.question}\nOptions:\n{listed}{SELECT}"
    asked = f"{item.hint} {item.question}" if item.hint else item.question
    if wording is Wording.LETTER:
        return f"{asked} There are several options:\n{listed}\n{SAY_LETTER}"
    return (
        asked + OPTIONS.format(listed.rstrip("\n")) + (SAY_LETTER if wording is Wording.TAUGHT else SAY_TEXT)
    )


def rotations(item: Item) -> list[Item]:
    """Return a question as often as it has options: pass k moves every text k letters up, and the letter of
    the answer with it.
    """
    letters = [letter for letter, _ in item.options]
    texts = [text for _, text in item.options]
    right, count = letters.index(item.answer), len(letters)
    return [
        replace(
            item,
            key=str(int(item.key) + k * MILLION),
            group=item.scored_with,
            answer=letters[(right - k) % count],
            options=tuple(zip(letters, texts[k:] + texts[:k], strict=True)),
        )
        for k in range(count)
    ]


def circular(items: Sequence[Item]) -> tuple[tuple[Item, ...], str]:
    """Return questions in all their rotations, made here where there are none yet, and a note on it.

    A set that holds some is taken as it is; where a question has fewer than options, the note says so.
    """
    if all(int(i.key) < MILLION for i in items):
        return tuple(r for i in items for r in rotations(i)), "rotations of the options are made here"
    passes: dict[str, list[Item]] = {}
    for item in items:
        passes.setdefault(item.scored_with, []).append(item)
    short = sum(len(p) < len(p[0].options) for p in passes.values())
    return tuple(items), f"{short} questions have fewer rotations than options" if short else ""


def run(ask: AskModel, questions: QuestionSet, *, wording: Wording = Wording.LETTER) -> Outcome:
    """Ask rotation after rotation, each question until its first wrong answer; return answers and scores."""
    passes: dict[str, list[Item]] = {}
    for item in sorted(questions.items, key=lambda i: int(i.key)):
        passes.setdefault(item.scored_with, []).append(item)
    records: list[Record] = []
    alive, turn = list(passes.values()), 0
    while alive:
        items = [rotated[turn] for rotated in alive]
        asked = [(i.picture, prompt(i, wording)) for i in items]
        answers = answered(ask, questions.album, asked, NEW_TOKENS)
        for item, (_, question), answer in zip(items, asked, answers, strict=True):
            letter = chosen(answer, dict(item.options))
            records.append(record_of(item, question, answer, letter, right=letter == item.answer))
        turn += 1
        right = {r.group for r in records[-len(items) :] if r.right}
        alive = [r for r in alive if len(r) > turn and r[0].scored_with in right]
    return Outcome(name=questions.name, mode=wording.value, records=tuple(records), scores=scored(records))


def scored(records: Sequence[Record]) -> Scores:
    """Return the circular score, of all questions and by category and level, the accuracy in the first
    rotation, and the share of answers that no option could be told from. All in percent.
    """
    firsts, kept = _first(records), survivors(records)
    values = {"score": share(firsts, lambda r: r.group in kept), "first_rotation": share(firsts)}
    for head, name in (("category", lambda r: r.category), ("level", lambda r: r.level)):
        for title, members in grouped(firsts, name).items():
            if title:
                values[f"{head}/{title}"] = share(members, lambda r: r.group in kept)
    values["unresolved"] = share(records, lambda r: not r.parsed)
    return Scores(values=values)


def survivors(records: Sequence[Record]) -> set[str]:
    """Return the questions that were answered right in every rotation that was asked: the first wrong one
    ends a question.
    """
    return {r.group for r in records} - {r.group for r in records if not r.right}


def drops(before: Sequence[Record], after: Sequence[Record]) -> Scores:
    """Return by how many points the score fell from one state to another, over the same questions."""
    paired(before, after)
    first, second = survivors(before), survivors(after)
    groups = [r.group for r in _first(before)]
    fell = paired_difference([g in first for g in groups], [g in second for g in groups])
    return Scores(values={"score": fell.scaled(100)})


def _first(records: Sequence[Record]) -> list[Record]:
    return [members[0] for members in grouped(records, lambda r: r.group).values()]
