"""Questions about pictures with their right answers, and what became of them. Nothing here knows a model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol, TypeVar

from PIL import Image

from razor_cli.data.sampling import rng_for
from razor_cli.errors import RunError
from razor_cli.metrics.stats import Interval, wilson

T = TypeVar("T")
PICTURES = 64  # pictures that are held in memory at once


class AskModel(Protocol):
    """What answers: one answer to each question, in order.

    `pictures[i]` is what `questions[i]` is about. Questions about one picture stand next to each other and
    share one object, so whoever answers can encode it once.
    """

    def __call__(
        self, pictures: Sequence[Image.Image], questions: Sequence[str], max_new_tokens: int, /
    ) -> list[str]:
        """Return the answers, without the prompts."""
        ...


class Album(Protocol):
    """Pictures by key, read when they are asked for."""

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures as RGB images, in order. Raises DataError naming one that cannot be used."""
        ...


@dataclass(frozen=True, kw_only=True)
class Item:
    """One question as its set holds it, without the words that say how to answer."""

    key: str  # unique in its set
    picture: str  # key in the album
    question: str
    answer: str
    category: str = ""  # sub-task of MME, structural type of GQA, category of MMBench
    level: str = ""  # MMBench's coarser category
    group: str = ""  # questions that are scored together; empty: each alone
    hint: str = ""
    options: tuple[tuple[str, str], ...] = ()  # letter and text of each option there is

    @property
    def scored_with(self) -> str:
        """What questions that are scored together share."""
        return self.group or self.key


@dataclass(frozen=True, kw_only=True)
class QuestionSet:
    """Questions with the album of their pictures; `name` is printed: "MME", "MME-shaped"."""

    name: str
    items: tuple[Item, ...]
    album: Album = field(repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.items)

    def fingerprint(self) -> str:
        """Return a SHA-256 of the name and of all questions, options and answers, with the keys of their
        pictures; not of the pictures.
        """
        told = json.dumps([self.name, *(asdict(i) for i in self.items)], ensure_ascii=False)
        return hashlib.sha256(told.encode(errors="surrogatepass")).hexdigest()

    def subset(self, count: int, seed: int) -> QuestionSet:
        """Return about `count` questions in the order of the set, drawn by the seed in the shares that the
        categories have; questions that are scored together stay together. Each category keeps one at least.
        """
        if count >= len(self.items):
            return self
        part, kept = count / len(self.items), set()
        together = _by(self.items, lambda i: i.scored_with).values()
        for name, groups in _by(together, lambda g: g[0].category).items():
            drawn = rng_for(seed, f"{self.name} {name}").sample(groups, max(1, round(part * len(groups))))
            kept |= {item.key for group in drawn for item in group}
        note = (
            f"{self.name}: {len(kept)} of {len(self.items)} questions, drawn by seed {seed} in equal shares"
        )
        return replace(self, items=tuple(i for i in self.items if i.key in kept), notes=(*self.notes, note))


@dataclass(frozen=True, kw_only=True)
class Record:
    """One question as it was asked, what was answered, and what became of it."""

    key: str
    picture: str
    category: str
    level: str
    group: str
    question: str  # as it was asked
    answer: str  # as it was given
    right_answer: str
    parsed: str  # what the answer was taken for; empty where it could not be told
    right: bool


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores by name in points, and why others are missing."""

    values: dict[str, Interval]
    reasons: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A question set answered: `mode` says how answers were matched, for the head of a column."""

    name: str
    mode: str
    records: tuple[Record, ...]
    scores: Scores


def answered(ask: AskModel, album: Album, asked: Sequence[tuple[str, str]], max_new_tokens: int) -> list[str]:
    """Return the answer to each (picture, question); pictures are loaded once, a few at a time."""
    by_picture: dict[str, list[int]] = {}
    for at, (picture, _) in enumerate(asked):
        by_picture.setdefault(picture, []).append(at)
    keys, found = list(by_picture), [""] * len(asked)
    for start in range(0, len(keys), PICTURES):
        part = keys[start : start + PICTURES]
        images = dict(zip(part, album.load(part), strict=True))
        places = [at for key in part for at in by_picture[key]]
        given = ask([images[asked[at][0]] for at in places], [asked[at][1] for at in places], max_new_tokens)
        if len(given) != len(places):
            raise RunError(f"{len(places)} questions were asked", found=f"{len(given)} answers")
        for at, answer in zip(places, given, strict=True):
            found[at] = answer
    return found


def record_of(item: Item, asked: str, answer: str, parsed: str, *, right: bool) -> Record:
    """Return what became of one question."""
    return Record(
        key=item.key,
        picture=item.picture,
        category=item.category,
        level=item.level,
        group=item.scored_with,
        question=asked,
        answer=answer,
        right_answer=item.answer,
        parsed=parsed,
        right=right,
    )


def share(records: Sequence[Record], counts: Callable[[Record], bool] = lambda r: r.right) -> Interval:
    """Return the share of records that count, in percent, with Wilson's interval."""
    return wilson(sum(map(counts, records)), len(records)).scaled(100)


def grouped(records: Iterable[Record], key: Callable[[Record], str]) -> dict[str, list[Record]]:
    """Return records by a key, in order of appearance."""
    return _by(records, key)


def paired(before: Sequence[Record], after: Sequence[Record]) -> None:
    """Raise RunError unless two states answered questions of the same groups: drops are over pairs."""
    first, second = ({r.group for r in records} for records in (before, after))
    if first != second:
        raise RunError(
            "a drop needs the same questions in both states",
            found=f"{len(first ^ second)} that one state was not asked",
        )


def to_lines(records: Iterable[Record]) -> str:
    """Return records as JSON lines."""
    return "".join(json.dumps(asdict(r), ensure_ascii=False) + "\n" for r in records)


def from_lines(text: str) -> tuple[Record, ...]:
    """Return the records of JSON lines that `to_lines` wrote."""
    return tuple(Record(**json.loads(line)) for line in text.split("\n") if line)


def _by(things: Iterable[T], key: Callable[[T], str]) -> dict[str, list[T]]:
    found: dict[str, list[T]] = {}
    for thing in things:
        found.setdefault(key(thing), []).append(thing)
    return found
