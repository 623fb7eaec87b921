"""Which option an answer chooses, told without a model that reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

BLANKED = str.maketrans(dict.fromkeys(".()[],:;!*#{}", " "))
LAST = 4  # tokens at the end of an answer among which its letter stands
FEW = 3  # tokens beyond which a lone A may be an article
STATED = re.compile(r"\b(?:correct )?answer is:? *[(\[*]*([A-Z])\b(?P<rest>.{0,2})", re.DOTALL)


def chosen(answer: str, options: Mapping[str, str]) -> str:
    """Return the letter of the option that an answer chooses; empty where that cannot be told.

    In this order: the only option's letter in the answer, among its last four tokens; what "the answer is"
    states; the option whose text the answer is, or the only one whose text it contains.
    """
    return _letter(answer, options) or _stated(answer, options) or _text(answer, options)


def _letter(answer: str, options: Mapping[str, str]) -> str:
    tokens = answer.translate(BLANKED).split()
    found = [letter for letter in options if letter in tokens]
    if len(found) != 1 or tokens.index(found[0]) < len(tokens) - LAST:
        return ""
    return "" if found[0] == "A" and len(tokens) > FEW else found[0]


def _stated(answer: str, options: Mapping[str, str]) -> str:
    for found in STATED.finditer(answer):
        article = found[1] == "A" and re.match(r" \w", found["rest"]) is not None  # "the answer is A dog"
        if found[1] in options and not article:
            return found[1]
    return ""


def _text(answer: str, options: Mapping[str, str]) -> str:
    plain = answer.strip().rstrip(".").lower()
    same = [letter for letter, text in options.items() if text.lower().rstrip(".") == plain]
    held = [letter for letter, text in options.items() if text.lower() in plain]
    return next((found[0] for found in (same, held) if len(found) == 1), "")
