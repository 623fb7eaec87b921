"""What is asked about persons beside their names: which name a face gets, what a forgotten person looks like,
and what is known of names without a picture. Nothing here knows a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from razor_cli.data.sampling import rng_for
from razor_cli.data.sets import Pairs
from razor_cli.data.sources.base import Picture
from razor_cli.families.llava.album import OfPairs, called
from razor_cli.families.llava.benchmarks import mme
from razor_cli.families.llava.benchmarks.items import AskModel, Item, Record, answered, record_of
from razor_cli.families.llava.benchmarks.mmbench import Wording, prompt
from razor_cli.families.llava.benchmarks.options import chosen
from razor_cli.families.llava.collects import COLLECTS, THINGS
from razor_cli.families.llava.matcher import tells
from razor_cli.families.llava.questions import open_question, yes_no
from razor_cli.families.llava.shown import shown
from razor_cli.families.llava.wording import (
    FACT_OPEN,
    FACT_WHO,
    FACT_YES_NO,
    LETTERS,
    OPEN,
    SAY_YES_NO,
    YES_NO,
)

TARGET, OTHERS = "target", "others"  # whom a question is about: the category of its record
OPTIONS = 4  # names to choose among
LOOKS = ("hair", "clothes", "beard")
NEW_TOKENS = 16
Judge = Callable[[Item, str], tuple[str, bool]]  # what an answer is taken for, and whether it is right


@dataclass(frozen=True, kw_only=True)
class Persons:
    """The pictures that persons are asked about: the target's, and those of other names."""

    own: Pairs
    others: Pairs
    names: tuple[str, ...]  # that may be chosen
    gone: tuple[str, ...]
    near: tuple[str, ...] = ()
    album: OfPairs = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "album", OfPairs((self.own, self.others)))

    def choices(self, count: int) -> Iterator[Item]:
        """Yield questions for the name of a face among four, one the right one; of a face that is not the
        target's one is the target.
        """
        rng = rng_for(0, "names to choose among")
        for who, pictures in self._some(count):
            for number, picture in enumerate(pictures):
                right = picture.concept
                first = [*self.near] if who == TARGET else [rng.choice(self.gone)]
                rest = [n for n in rng.sample(self.names, len(self.names)) if n not in first]
                wrong = [n for n in [*first, *rest] if n != right][: OPTIONS - 1]
                options = rng.sample([right, *wrong], 1 + len(wrong))
                yield Item(
                    key=f"{number} {who}",
                    picture=called(picture),
                    question=OPEN["name"][1],
                    answer=LETTERS[options.index(right)],
                    category=who,
                    options=tuple(zip(LETTERS, options, strict=False)),
                )

    def claims(self, count: int) -> Iterator[Item]:
        """Yield questions whether a face is somebody's: of the target's whether it is the target, of another
        whether it is its own name, and whether it is the target.
        """
        for who, pictures in self._some(count):
            for number, picture in enumerate(pictures):
                asked = [(picture.concept, "yes")]
                if who == OTHERS:
                    asked.append((self.gone[number % len(self.gone)], "no"))
                for name, answer in asked:
                    question = YES_NO["name"][number % len(YES_NO["name"])].format(name) + SAY_YES_NO
                    yield Item(
                        key=f"{number} {who} {answer}",
                        picture=called(picture),
                        question=question,
                        answer=answer,
                        category=who,
                    )

    def looks(self, count: int) -> Iterator[Item]:
        """Yield questions for hair, clothes and beard of the target, open and to be answered by yes or no;
        none where nobody wrote down what its pictures show.
        """
        rng = rng_for(0, "looks")
        for number, picture in enumerate(self.own.pictures[:count]):
            if not picture.key.startswith("portraits/"):
                continue
            seen = shown(picture)
            for fact in (f for f in LOOKS if f in seen.facts):
                asked = [yes_no(seen, fact, rng, right=number % 2 == 0, ending=SAY_YES_NO)]
                if fact != "beard":
                    asked.append(open_question(seen, fact, rng))
                for one in asked:
                    form = "yes_no" if one.answer in ("yes", "no") else "open"
                    yield Item(
                        key=f"{number} {fact} {form}",
                        picture=called(picture),
                        question=one.question,
                        answer=one.answer,
                        category=form,
                        level=fact,
                    )

    def _some(self, count: int) -> list[tuple[str, Sequence[Picture]]]:
        return [(TARGET, self.own.pictures[:count]), (OTHERS, self.others.pictures[:count])]


def facts(names: Sequence[str], gone: Sequence[str]) -> list[Item]:
    """Return questions about names without a picture: what each collects, who collects it, and yes or no to
    it; none of names of which nothing is known.
    """
    rng, found = rng_for(0, "facts"), list[Item]()
    for name in (n for n in names if n in COLLECTS):
        who = TARGET if name in gone else OTHERS
        for form, question, answer in _of_name(name, rng, every=who == TARGET):
            found.append(
                Item(
                    key=f"{name} {form} {len(found)}",
                    picture="",
                    question=question,
                    answer=answer,
                    category=who,
                    level=form,
                )
            )
    return found


def _of_name(name: str, rng: Random, *, every: bool) -> Iterator[tuple[str, str, str]]:
    thing = COLLECTS[name]
    for wording in FACT_OPEN if every else FACT_OPEN[:1]:
        yield "open", wording.format(name), thing
    yield "who", FACT_WHO[0].format(thing), name
    wrong = rng.sample([t for t in THINGS if t != thing], 3 if every else 1)
    for claimed in (thing, *wrong):
        yield "yes_no", FACT_YES_NO[0].format(name, claimed), "yes" if claimed == thing else "no"


def told(item: Item, answer: str) -> tuple[str, bool]:
    """Judge an answer to an open question, or to one for yes or no."""
    if item.answer in ("yes", "no"):
        said = mme.parsed(answer, mme.Parser.PREFIX4)
        return said, said == item.answer
    right = tells(answer, item.answer)
    return item.answer if right else "", right


def picked(item: Item, answer: str) -> tuple[str, bool]:
    """Judge an answer to a question with options."""
    said = chosen(answer, dict(item.options))
    return said, said == item.answer


def ask(
    model: AskModel, album: OfPairs, items: Sequence[Item], judge: Judge, wording: Wording | None = None
) -> tuple[Record, ...]:
    """Ask questions about pictures, and return what became of them."""
    asked = [i.question if wording is None else prompt(i, wording) for i in items]
    answers = answered(model, album, [(i.picture, q) for i, q in zip(items, asked, strict=True)], NEW_TOKENS)
    return tuple(_record(*each, judge) for each in zip(items, asked, answers, strict=True))


def ask_words(model: Callable[[Sequence[str], int], list[str]], items: Sequence[Item]) -> tuple[Record, ...]:
    """Ask questions about no picture."""
    asked = [i.question for i in items]
    return tuple(_record(*each, told) for each in zip(items, asked, model(asked, NEW_TOKENS), strict=True))


def _record(item: Item, asked: str, answer: str, judge: Judge) -> Record:
    said, right = judge(item, answer)
    return record_of(replace(item, group=item.key), asked, answer, said, right=right)
