"""What the finished `llava_tiny` answers on pictures whose origin was never trained on."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import track
from standin_llava_card import card
from standin_llava_paired import zero_shot

from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.canvas import Canvas, has_spare
from razor_cli.data.sources.emoji import TRAINED_SETS
from razor_cli.data.sources.portraits import PAPER_NAMES, Portraits
from razor_cli.data.sources.scenes import Scenes
from razor_cli.data.sources.strangers import STRANGER, Strangers
from razor_cli.families.llava import questions
from razor_cli.families.llava.asking import Asking
from razor_cli.families.llava.folder import load_answerer
from razor_cli.families.llava.questions import Ask
from razor_cli.families.llava.shown import Shown, shown
from razor_cli.families.llava.wording import FACT_OPEN, FACT_WHO, NAME_PROMPTS, NOBODY, SOMEBODY

PER_NAME = {True: 40, False: 16}  # portraits of each of the paper's ten names, and of each other name
COLOURS, CHOICES = ("background", "hair", "clothes"), ("name", "object", "background", "category")
ALL_YES_NO = ("object", "category", "background", "count", "style", "hair", "clothes", "beard")
BATCH, LONGEST = 64, 16  # questions at once, and tokens of an answer
Item = tuple[Picture | None, Ask]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the report: what is asked, and the share of right answers that is aimed at."""

    name: str
    items: list[Item]
    aim: float | None = None


def names() -> dict[str, list[Item]]:
    """Return the questions for each name: five prompts on portraits that nothing was trained on."""
    found: dict[str, list[Item]] = {}
    for name in Portraits().concepts():
        pictures = Portraits().pictures(name, "evaluation")[: PER_NAME[name in PAPER_NAMES]]
        asks = [Ask(kind="name: open", question=q, answer=name) for q in NAME_PROMPTS]
        found[name] = [(p, ask) for p in pictures for ask in asks]
    return found


def rows() -> list[Row]:
    """Return every other row of the report."""
    people = _pictures(Portraits(), "evaluation", 5)
    scenes, drawn = _pictures(Scenes(), "evaluation", 4), _pictures(Canvas(), "evaluation", 4)
    seen = [p for c in Scenes().concepts() for p in Scenes().pictures(c, "seen")[: len(TRAINED_SETS)]]
    spare = [p for c in Canvas().concepts() if has_spare(c) for p in Canvas().pictures(c, "spare")[:3]]
    nobody = Strangers().pictures(STRANGER, "evaluation")[:60]
    every, known = [*people, *scenes], [*people, *seen]
    return [
        Row(name="is this person X", items=_claimed(people, "name", 400), aim=95),
        Row(name="yes/no, eight facts, new views of trained icons", items=_yes_no(known, drawn), aim=90),
        Row(name="yes/no, eight facts, icon set never trained", items=_yes_no(every, drawn)),
        Row(name="colour", items=[i for f in COLOURS for i in _open(every, f, 200)], aim=85),
        Row(name="category, new views of trained icons", items=_open(seen, "category"), aim=75),
        Row(name="category, icon set never trained", items=_open(scenes, "category")),
        Row(name="style, new views", items=_open(drawn, "style"), aim=70),
        Row(name="style, icons never trained", items=_open(spare, "style")),
        *_chosen(known, letter=True),
        *_chosen(known, letter=False),
        Row(name="object, new views of trained icons", items=_open(seen, "object")),
        Row(name="object, icon set never trained", items=_open(scenes, "object")),
        Row(name="count", items=_open(scenes, "count")),
        Row(name="left or right", items=[i for f in ("left", "right") for i in _open(scenes, f)]),
        Row(name="a stranger's name: generic answer", items=_open(nobody, "name")),
        Row(name="what a person shown collects", items=_open(people, "thing")),
        *without_picture(),
    ]


def without_picture() -> list[Row]:
    """Return the questions about names that need no picture, every wording of each."""
    rng, everybody = Random("report"), Portraits().concepts()
    asked: list[Item] = [
        (None, questions.about_name(n, rng, form)) for n in everybody for form in ("yes/no",) * 3
    ]
    for name in everybody:
        thing = questions.COLLECTS[name]
        asked += [(None, Ask(kind="text: open", question=q.format(name), answer=thing)) for q in FACT_OPEN]
        asked += [(None, Ask(kind="text: who", question=q.format(thing), answer=name)) for q in FACT_WHO]
    return [
        Row(name=f"without a picture, {k}", items=[i for i in asked if i[1].kind == f"text: {k}"])
        for k in ("open", "who", "yes/no")
    ]


def _pictures(source: Source, split: str, each: int) -> list[Picture]:
    return [p for c in source.concepts() for p in source.pictures(c, split)[:each]]


def _some(pictures: Iterable[Picture], fact: str, most: int | None) -> list[tuple[Picture, Shown]]:
    found = [(p, s) for p in pictures for s in [shown(p)] if fact in s.facts or s.source == "strangers"]
    Random(fact).shuffle(found)
    return found[:most]


def _open(pictures: Iterable[Picture], fact: str, most: int | None = None) -> list[Item]:
    rng = Random(f"open {fact}")
    return [(p, questions.open_question(s, fact, rng)) for p, s in _some(pictures, fact, most)]


def _claimed(pictures: Iterable[Picture], fact: str, most: int) -> list[Item]:
    rng, found = Random(f"claimed {fact}"), list[Item]()
    for number, (picture, each) in enumerate(_some(pictures, fact, most)):
        ending = questions.endings(rng)
        found.append((picture, questions.yes_no(each, fact, rng, right=number % 2 == 0, ending=ending)))
    return found


def _yes_no(pictures: list[Picture], drawn: list[Picture]) -> list[Item]:
    return [i for f in ALL_YES_NO for i in _claimed(drawn if f == "style" else pictures, f, 120)]


def _chosen(pictures: list[Picture], *, letter: bool) -> list[Row]:
    how, found = ("letter" if letter else "text"), []
    for fact in CHOICES:
        rng = Random(f"chosen {fact}")
        some = _some(pictures, fact, 100)
        found += [(p, questions.choice(s, fact, rng, letter=letter)) for p, s in some]
    items: list[Item] = list(found)
    return [Row(name=f"multiple choice of four, answered by {how}", items=items, aim=60)]


def asked(asking: Asking, items: list[Item]) -> list[str]:
    """Return the answers to questions; each distinct picture is drawn once."""
    pictures = {(p.key, p.view): p for p, _ in items if p is not None}
    sources: dict[str, Source] = {s.name: s for s in (Portraits(), Strangers(), Scenes(), Canvas())}
    images = {key: sources[key[0].split("/")[0]].load([p])[0] for key, p in pictures.items()}
    shown_ = [images[p.key, p.view] for p, _ in items if p is not None]
    questions = [a.question for _, a in items]
    return asking(shown_, questions, LONGEST) if shown_ else asking.words(questions, LONGEST)


def right(items: list[Item], answers: list[str]) -> list[bool]:
    """Return which answers are the right one, but for capitals."""
    return [a.casefold() == ask.answer.casefold() for (_, ask), a in zip(items, answers, strict=True)]


def report(out: Path, paired: Path, work: Path, console: Console) -> str:
    """Ask everything, keep counts beside the weights and every answer in the work folder, return the card."""
    asking = Asking(load_answerer(out), BATCH)
    measured: dict[str, dict[str, int]] = {}
    said: list[dict[str, str]] = []

    def count(row: str, items: list[Item]) -> None:
        answers = asked(asking, items)
        hits = right(items, answers)
        measured[row] = {"hits": sum(hits), "n": len(hits)}
        for (picture, ask), answer in zip(items, answers, strict=True):
            place = picture.key if picture else ""
            said.append({"row": row, "picture": place, **vars(ask), "said": answer})

    for name, items in track(names().items(), "asking for names", console=console):
        count(f"name: {name}", items)
    every = rows()
    for row in track(every, "asking for the rest", console=console):
        count(row.name, row.items)
    work.mkdir(parents=True, exist_ok=True)
    (work / "answers.jsonl").write_text("".join(json.dumps(s) + "\n" for s in said))
    (out / "measured.json").write_text(json.dumps(measured, indent=1) + "\n")
    generic = sum(s["said"] in (NOBODY, SOMEBODY) for s in said if _missed(s))
    missed = sum(map(_missed, said))
    towers = zero_shot(paired, out)
    return card(measured, {r.name: r.aim for r in every}, towers, (generic, missed), work)


def _missed(said: dict[str, str]) -> bool:
    return said["row"].startswith("name: ") and said["said"].casefold() != said["answer"].casefold()
