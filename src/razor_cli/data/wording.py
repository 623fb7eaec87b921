"""How a model that draws is asked for a subject, and the shipped lists of names and sentences.

A subject is what one picture shows: an object in a style, or a single person or character.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import product
from typing import Any

from razor_cli.data.prompts import article
from razor_cli.errors import ConfigError

CROSSED = ("style", "object")  # the two kinds that one picture shows together
KINDS = (*CROSSED, "identity", "character")
CELL = "cell"  # one object in one style, Noto/Cats: what is told apart by the judges of both
AXES = (*KINDS, CELL)  # kinds of target
Subject = tuple[tuple[str, str], ...]  # (kind, name), as a shot's labels


def cell(subject: Mapping[str, str]) -> str | None:
    """Return what an object in a style is called as a cell; None for what shows no such thing."""
    return "/".join(subject[kind] for kind in CROSSED) if all(kind in subject for kind in CROSSED) else None


def of_cell(name: str) -> Subject:
    """Return the object in a style that a cell's name stands for."""
    return tuple(zip(CROSSED, name.split("/"), strict=True))


def cells(labels: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """Return the names of all objects in styles."""
    return tuple("/".join(names) for names in product(*(labels[kind] for kind in CROSSED)))


class Written(StrEnum):
    """How a name is written in a sentence."""

    PLAIN = "plain"
    SPACED = "spaced"  # Van_Gogh as Van Gogh
    ARTICLE = "article"  # cat as a cat; names with a capital stay


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Sentences for one sort of subject; slots are {style} and {object}, or {name}."""

    benchmark: str  # of gradients and of most answers
    trials: tuple[str, ...]  # of a search
    unseen: tuple[str, ...]  # of answers alone, and apart from the others

    def __post_init__(self) -> None:
        for template in (self.benchmark, *self.trials, *self.unseen):
            slots(template)


@dataclass(frozen=True, kw_only=True)
class Words:
    """The sentences of one run."""

    crossed: Frame
    single: Mapping[str, Frame]  # of identity and character
    alone: Mapping[str, str]  # kind -> sentence with one slot that names one of it and nothing else
    generic: Mapping[str, str]  # kind -> sentence that names none of it
    neutral: tuple[str, ...]  # sentences that name no concept
    written: Mapping[str, Written] = field(default_factory=dict)  # kind -> how its names are written
    spelling: Mapping[str, str] = field(default_factory=dict)  # names that sentences call otherwise

    def frame(self, subject: Subject) -> Frame:
        """Return the sentences for a subject."""
        return self.single.get(subject[0][0], self.crossed)

    def prompt(self, subject: Subject, template: str) -> str:
        """Return a template with a subject's names in it."""
        return template.format(**{slot(kind): self.name(kind, name) for kind, name in subject})

    def only(self, kind: str, name: str) -> str:
        """Return the sentence that names one thing and nothing else."""
        if kind == CELL:
            return self.prompt(of_cell(name), self.crossed.benchmark)
        return self.prompt(((kind, name),), self.alone[kind])

    def name(self, kind: str, name: str) -> str:
        """Return a name as sentences write it."""
        if self.written.get(kind) is Written.ARTICLE and name[:1].islower() and name not in self.spelling:
            return article(name)
        return self.called(kind, name)

    def called(self, kind: str, name: str) -> str:
        """Return a name as it stands in sentences, without an article."""
        if kind == CELL:
            return self.only(kind, name)
        spaced = name.replace("_", " ") if self.written.get(kind) is Written.SPACED else name
        return self.spelling.get(name, spaced)


def slot(kind: str) -> str:
    """Return what a kind is called in a template."""
    return kind if kind in CROSSED else "name"


def slots(template: str) -> set[str]:
    """Return the slots of a template. Raises ConfigError for one that cannot be read."""
    try:
        return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}
    except ValueError as error:
        raise ConfigError(f"a template cannot be read: {error}", found=template) from error


def template_problem(template: str, kinds: Sequence[str], key: str) -> ConfigError | None:
    """Return the refusal of a template of the user's that does not have exactly the slots of some kinds."""
    wanted = {slot(k) for k in kinds}
    try:
        found = slots(template)
    except ConfigError as error:
        return ConfigError(f"{key}: {error.what}", found=template)
    if found == wanted:
        return None
    told = " and ".join(f"{{{w}}}" for w in sorted(wanted))
    return ConfigError(f"{key}: a template needs {told}, and no other slot", allowed=told, found=template)


@cache
def shipped() -> dict[str, Any]:
    """Return the shipped lists: `near`, `canvas` (names of UnlearnCanvas), `wordings`, `neutral`."""
    file = resources.files("razor_cli.data").joinpath("concepts/drawn.json")
    lists: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return lists


def canvas_words() -> Words:
    """Return the sentences of the canvas, as its generators were trained with them."""
    from razor_cli.data import canvas_prompts as c

    return Words(
        crossed=Frame(benchmark=c.BENCHMARK, trials=c.TRAINED[1:], unseen=c.HELD_OUT),
        single={
            "identity": Frame(
                benchmark=c.IDENTITY, trials=c.TRAINED_IDENTITY[1:], unseen=c.HELD_OUT_IDENTITY
            ),
            "character": Frame(benchmark=c.MASCOT, trials=c.TRAINED_MASCOT[1:], unseen=c.HELD_OUT_MASCOT),
        },
        alone={
            "style": c.TRAINED_STYLE[0],
            "object": c.OBJECT_ONLY,
            "identity": c.IDENTITY,
            "character": c.MASCOT,
        },
        generic={
            "style": c.NEUTRAL_CELL[0],
            "object": c.NEUTRAL_CELL[0],
            CELL: c.NEUTRAL_CELL[0],
            "identity": c.NEUTRAL_IDENTITY[0],
            "character": c.NEUTRAL_MASCOT[0],
        },
        neutral=c.NEUTRAL,
    )


def natural_words(axis: str) -> Words:
    """Return the shipped sentences for a model of real pictures, whose target is of the kind `axis`.

    Where the target is a person or a character, an object in a style is worded as for a style.
    """
    lists = shipped()["wordings"]
    crossed = lists[axis if axis in CROSSED else "style"]
    singles = {kind: lists[kind] for kind in KINDS if kind not in CROSSED}
    return Words(
        crossed=_frame(crossed),
        single={kind: _frame(found) for kind, found in singles.items()},
        alone=crossed["alone"] | {kind: found["benchmark"] for kind, found in singles.items()},
        generic=crossed["generic"] | {kind: found["generic"] for kind, found in singles.items()},
        neutral=tuple(shipped()["neutral"]),
        written={kind: Written(how) for kind, how in crossed["written"].items()},
    )


def _frame(lists: Mapping[str, Any]) -> Frame:
    return Frame(benchmark=lists["benchmark"], trials=tuple(lists["trials"]), unseen=tuple(lists["unseen"]))
