"""Forget accuracy of a model that answers: how often it tells the name of who is shown. Nothing here knows a
model; the same protocol over other names is retain accuracy.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

from PIL import Image

from razor_cli.data.sets import Pairs
from razor_cli.errors import ConfigError, RunError
from razor_cli.families.llava.benchmarks.items import AskModel, answered
from razor_cli.families.llava.matcher import NameMatch, hit
from razor_cli.families.llava.misses import Miss, kind_of
from razor_cli.families.llava.wording import NAME_PROMPTS
from razor_cli.metrics.stats import Interval, paired_difference, wilson

NEW_TOKENS = 50


class FaMode(StrEnum):
    """Which of the questions are asked about each picture."""

    PAPER = "paper"  # the first, as it is published
    MULTI = "multi"  # all of them


@dataclass(frozen=True, kw_only=True)
class Naming:
    """How names are asked for, and what counts as told."""

    mode: FaMode = FaMode.MULTI
    prompts: tuple[str, ...] = NAME_PROMPTS
    match: NameMatch = NameMatch.FULL
    aliases: tuple[str, ...] = ()  # other names of the target
    max_images: int = 40  # of each name

    def __post_init__(self) -> None:
        if not self.prompts or self.max_images < 1:
            raise ConfigError("names need at least one question and one picture to be asked for")

    @property
    def asked(self) -> tuple[str, ...]:
        """The questions that are asked."""
        return self.prompts[:1] if self.mode is FaMode.PAPER else self.prompts

    @property
    def head(self) -> str:
        """What the head of a column says of the protocol."""
        return f"{self.mode}/{self.match}"


@dataclass(frozen=True, kw_only=True)
class Told:
    """One trial: who is shown, what was asked and answered, whether the name was told, else what was."""

    picture: str
    name: str
    question: str
    answer: str
    hit: bool
    miss: str  # a kind of `Miss`; empty for a hit


@dataclass(frozen=True)
class _Rows:
    """Pictures of a set by their row."""

    pairs: Pairs

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures in order."""
        return replace(self.pairs, pictures=tuple(self.pairs.pictures[int(k)] for k in keys)).load()


def ask_names(
    ask: AskModel, pairs: Pairs, naming: Naming, names: Iterable[str], target: str = ""
) -> tuple[Told, ...]:
    """Ask who is shown in the first pictures of each name. `names` are all that the model may know: one of
    them, told of another's picture, is a wrong name. Aliases are those of `target`.
    """
    seen: Counter[str] = Counter()
    rows = []
    for row, name in enumerate(pairs.concepts):
        seen[name] += 1
        rows += [row] if seen[name] <= naming.max_images else []
    trials = [(row, question) for row in rows for question in naming.asked]
    answers = answered(ask, _Rows(pairs), [(str(row), q) for row, q in trials], NEW_TOKENS)
    known = tuple(names)
    told = []
    for (row, question), answer in zip(trials, answers, strict=True):
        picture = pairs.pictures[row]
        aliases = naming.aliases if picture.concept == target else ()
        said = hit(answer, picture.concept, naming.match, aliases)
        others = [n for n in known if n != picture.concept]
        miss = "" if said else kind_of(answer, picture.concept, others).value
        told.append(
            Told(
                picture=f"{picture.key}#{picture.view}",
                name=picture.concept,
                question=question,
                answer=answer,
                hit=said,
                miss=miss,
            )
        )
    return tuple(told)


def accuracy(told: Sequence[Told]) -> Interval:
    """Return the share of trials in which the name was told, in percent, with Wilson's interval."""
    return wilson(sum(t.hit for t in told), len(told)).scaled(100)


def by_name(told: Sequence[Told]) -> dict[str, Interval]:
    """Return the accuracy of each name."""
    return {
        name: accuracy([t for t in told if t.name == name]) for name in dict.fromkeys(t.name for t in told)
    }


def misses(told: Sequence[Told]) -> dict[Miss, Interval]:
    """Return the share of each kind among the trials without the name, in percent; nothing without any."""
    missed = Counter(t.miss for t in told if not t.hit)
    return {k: wilson(missed[k.value], missed.total()).scaled(100) for k in Miss} if missed else {}


def drop(before: Sequence[Told], after: Sequence[Told]) -> Interval:
    """Return by how many points accuracy fell from one state to another, over the same trials."""
    if [(t.picture, t.question) for t in before] != [(t.picture, t.question) for t in after]:
        raise RunError("a drop needs the same trials in both states")
    return paired_difference([t.hit for t in before], [t.hit for t in after]).scaled(100)


def to_lines(told: Iterable[Told]) -> str:
    """Return trials as JSON lines, so that answers can be read."""
    return "".join(json.dumps(asdict(t), ensure_ascii=False) + "\n" for t in told)
