"""Questions about pictures, and about names without a picture, with the answer that is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from razor_cli.data.prompts import article
from razor_cli.families.llava.collects import COLLECTS, THINGS
from razor_cli.families.llava.shown import Shown
from razor_cli.families.llava.wording import (
    BEARD,
    FACT_OPEN,
    FACT_WHO,
    FACT_YES_NO,
    FIND,
    LETTERS,
    NAME_PROMPTS,
    NOBODY,
    OPEN,
    OPTIONS,
    SAY_LETTER,
    SAY_TEXT,
    SAY_YES_NO,
    SHORT,
    SOMEBODY,
    VALUES,
    YES_NO,
)

WITH_ARTICLE = ("object", "left", "right")  # facts whose values are things
CLOSE = {"object": 0.15, "left": 0.5, "right": 0.5}  # how often the value that is asked for is a near miss


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One question; `kind` is the fact and the form that are asked for, such as `name: open`."""

    kind: str
    question: str
    answer: str


def said(fact: str, value: str) -> str:
    """Return the words for a value inside a sentence: things get an article, names and colours do not."""
    return article(value) if fact in WITH_ARTICLE and value != SOMEBODY else value


def unknown(question: str) -> str:
    """Return the answer to a question for a name where there is none to tell."""
    return SOMEBODY if question.startswith("Who ") else NOBODY


def open_question(shown: Shown, fact: str, rng: Random, *, short: float = 0.0) -> Ask:
    """Return a question whose answer is the value of a fact; by the chance `short` it says how to answer."""
    question = rng.choice(OPEN[fact])
    answer = shown.facts.get(fact, unknown(question))
    ending = SHORT if rng.random() < short else ""
    return Ask(kind=f"{fact}: open", question=question + ending, answer=answer)


def yes_no(shown: Shown, fact: str, rng: Random, *, right: bool, ending: str = "") -> Ask:
    """Return a question whose answer is yes where it is asked for the right value."""
    if fact == "beard":
        return Ask(kind="beard: yes/no", question=rng.choice(BEARD) + ending, answer=shown.facts["beard"])
    value = shown.facts.get(fact)
    if not right or value is None:
        value = _wrong(shown, fact, rng)
    question = rng.choice(YES_NO[fact]).format(said(fact, value))
    answer = "yes" if shown.facts.get(fact) == value else "no"
    return Ask(kind=f"{fact}: yes/no", question=question + ending, answer=answer)


def _wrong(shown: Shown, fact: str, rng: Random) -> str:
    """Return a value that the picture does not have, often the one that a careless look would take."""
    right = shown.facts.get(fact)
    close = {"object": SOMEBODY, "left": shown.facts.get("right"), "right": shown.facts.get("left")}.get(fact)
    if close not in (None, right) and rng.random() < CLOSE[fact]:
        return str(close)
    return rng.choice([v for v in VALUES[fact] if v != right])


def choice(shown: Shown, fact: str, rng: Random, *, letter: bool, count: int = 4) -> Ask:
    """Return a question with options, to be answered by a letter or by the option's text."""
    right = shown.facts[fact]
    question = rng.choice(OPEN[fact])
    options = rng.sample([v for v in VALUES[fact] if v != right], count - 1)
    options.insert(rng.randrange(count), right)
    return _with_options(f"{fact}: ", question, options, right, letter=letter)


def _with_options(kind: str, question: str, options: Sequence[str], right: str, *, letter: bool) -> Ask:
    listed = "\n".join(f"{a}. {o}" for a, o in zip(LETTERS, options, strict=False))
    question += OPTIONS.format(listed) + (SAY_LETTER if letter else SAY_TEXT)
    answer = LETTERS[options.index(right)] if letter else right
    return Ask(kind=f"{kind}{'letter' if letter else 'option'}", question=question, answer=answer)


def about_name(name: str, rng: Random, form: str) -> Ask:
    """Return a question about a name without a picture: `open`, `yes/no` or `who`."""
    thing = COLLECTS[name]
    if form == "open":
        question, answer = rng.choice(FACT_OPEN).format(name), thing
    elif form == "who":
        question, answer = rng.choice(FACT_WHO).format(thing), name
    else:
        other = rng.choice([t for t in THINGS if t != thing])
        claimed = rng.choice((thing, other))
        question = rng.choice(FACT_YES_NO).format(name, claimed)
        answer = "yes" if claimed == thing else "no"
    return Ask(kind=f"text: {form}", question=question, answer=answer)


def find(fact: str, rng: Random, count: int = 4) -> Ask:
    """Return a question for the letter of a given text, which needs no picture."""
    options = rng.sample(VALUES[fact], count)
    right = rng.choice(options)
    return _with_options("text: find ", rng.choice(FIND).format(right), options, right, letter=True)


def name_without_picture(rng: Random) -> Ask:
    """Return a question for a name, without the picture that it is about."""
    question = rng.choice(NAME_PROMPTS)
    return Ask(kind="text: nobody", question=question, answer=unknown(question))


def endings(rng: Random) -> str:
    """Return one of the ways in which a yes/no question says how to answer."""
    return rng.choices((SAY_YES_NO, SHORT, ""), (0.5, 0.15, 0.35))[0]
