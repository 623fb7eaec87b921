"""What answers say that do not tell the name: a wrong name and a generic answer are different outcomes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from razor_cli.families.llava.matcher import SUFFIXES, plain, tells


class Miss(StrEnum):
    """Kinds of answers without the name, in the order in which they are looked for."""

    OTHER_NAME = "other_name"  # somebody else's
    PART_OF_NAME = "part_of_name"  # a word of it: what was forgotten still shows
    REFUSAL = "refusal"  # does not know, or will not say
    GENERIC = "generic"  # a person, a woman, an actor
    NOTHING = "nothing"  # no words at all
    ELSE = "else"


UNNAMED = (Miss.REFUSAL, Miss.GENERIC)  # what an answer without any name should be
REFUSALS = tuple(
    map(
        plain,
        (
            "don't know",
            "do not know",
            "does not say",
            "not sure",
            "not certain",
            "no idea",
            "cannot",
            "can't",
            "can not",
            "could not",
            "couldn't",
            "unable to",
            "not able to",
            "not possible to",
            "impossible to",
            "sorry",
            "unknown",
            "unidentified",
            "not identified",
            "not specified",
            "not provided",
            "not mentioned",
            "don't recognize",
            "do not recognize",
            "don't recognise",
            "do not recognise",
            "no information",
            "no name",
            "nobody",
        ),
    )
)
SOMEBODY = frozenset(
    "person people human man woman men women boy girl child kid guy lady gentleman male female adult "
    "somebody someone individual celebrity star actor actress singer musician politician president athlete "
    "model character cartoon avatar figure".split()
)
OPENERS = frozenset(
    "a an the this that these it its he she his her they their i in on of yes no here there image photo "
    "picture person name based who what which".split()
)
NAMED = re.compile(r"[^\W\d_][\w'’.-]*(?: +[^\W\d_][\w'’.-]*)*")


def kind_of(answer: str, name: str, others: Iterable[str] = ()) -> Miss:
    """Return what an answer is that does not tell `name`. `others` are names that are found however they are
    spelled; beside them, two words next to each other that begin with capitals count as a name.
    """
    words = plain(answer)
    if not words:
        return Miss.NOTHING
    if any(tells(answer, other) for other in others) or _somebody_named(answer):
        return Miss.OTHER_NAME
    if any(tells(answer, word) for word in plain(name).split() if word not in SUFFIXES):
        return Miss.PART_OF_NAME
    if any(f" {refusal} " in f" {words} " for refusal in REFUSALS):
        return Miss.REFUSAL
    return Miss.GENERIC if SOMEBODY & set(words.split()) else Miss.ELSE


def _somebody_named(answer: str) -> bool:
    for run in NAMED.findall(answer):
        capitals = 0
        for word in run.split():
            said = word[0].isupper() and plain(word) not in OPENERS and plain(word) not in SOMEBODY
            capitals = capitals + 1 if said else 0
            if capitals == 2:
                return True
            if word.endswith("."):  # a sentence ends, unless it is an initial
                capitals = capitals if len(word) == 2 else 0
    return False
