"""Whether an answer tells a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from enum import StrEnum

SUFFIXES = ("jr", "sr", "ii", "iii", "iv")  # of names, which are no surnames
APART = re.compile(r"[\W_]+")


class NameMatch(StrEnum):
    """What of a name has to be told."""

    FULL = "full"  # all of it
    SURNAME = "surname"  # all of it, or its last word
    ANY_ALIAS = "any_alias"  # all of it, or one of the other names that are given


def plain(text: str) -> str:
    """Return the words of a text with one space between them: case, accents and punctuation are gone.

    Punctuation parts words, so "Swift's" holds "swift", and initials may be written with or without dots.
    """
    letters = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(c for c in letters if not unicodedata.combining(c))
    return " ".join(APART.sub(" ", bare).split())


def tells(answer: str, words: str) -> bool:
    """Tell whether the words stand in an answer, whole and in one run."""
    wanted = plain(words)
    return bool(wanted) and f" {wanted} " in f" {plain(answer)} "


def surname(name: str) -> str:
    """Return the last word of a name that is no suffix, as `plain` writes it."""
    words = plain(name).split()
    return next((w for w in reversed(words) if w not in SUFFIXES), "")


def hit(answer: str, name: str, match: NameMatch = NameMatch.FULL, aliases: Sequence[str] = ()) -> bool:
    """Tell whether an answer, cut from its prompt, tells a name. In a denial it does too: the answer is kept,
    so that it can be read.
    """
    also = {NameMatch.FULL: (), NameMatch.SURNAME: (surname(name),), NameMatch.ANY_ALIAS: tuple(aliases)}
    return any(tells(answer, words) for words in (name, *also[match]))
