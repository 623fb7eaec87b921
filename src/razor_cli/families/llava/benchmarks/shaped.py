"""Question sets of the shape of MME, GQA and MMBench over drawn pictures, for models that know those alone.

They measure what an edit damages, not what a model can do in general, so icons are those that the stand-in
was trained on, in views that nothing else draws; faces are new in their varied traits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from PIL import Image

from razor_cli.data.sampling import content, rng_for
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.canvas import Canvas
from razor_cli.data.sources.emoji import HELD_OUT_SET, TRAINED_SETS
from razor_cli.data.sources.portraits import NAMES, Portraits
from razor_cli.data.sources.scenes import Scenes
from razor_cli.errors import RunError
from razor_cli.families.llava.benchmarks.items import Item, QuestionSet
from razor_cli.families.llava.benchmarks.mmbench import circular
from razor_cli.families.llava.benchmarks.mme import ENDING, Parts
from razor_cli.families.llava.questions import open_question, yes_no
from razor_cli.families.llava.shown import Shown, shown
from razor_cli.families.llava.wording import LETTERS, NUMBERS, OPEN, VALUES

# Number of the first view of an icon that is drawn here, by the split that is judged: no other set draws
# so many.
VIEW = {"evaluation": 5000, "validation": 6000}
VIEWS = 1000
MME_FACTS = {  # sub-task to the facts that its questions ask for
    "existence": ("object",),
    "count": ("count",),
    "position": ("left", "right"),
    "color": ("background", "hair", "clothes"),
    "celebrity": ("name",),
    "artwork": ("style",),
    "commonsense_reasoning": ("category",),
}
MME_PARTS = Parts(perception=tuple(MME_FACTS)[:-1], cognition=tuple(MME_FACTS)[-1:])
FACTS = ("object", "category", "background", "count", "left", "right", "hair", "clothes", "style")
FACES = ("name", "hair", "clothes")  # facts that are asked about portraits; style is about the canvas
LEVELS = {"hair": "person", "clothes": "person", "left": "relation", "right": "relation"}
SOURCES: tuple[Source, ...] = (Portraits(), Scenes(), Canvas())
ABOUT = 3  # questions about each picture of a set of GQA's shape
TRIES = 10_000  # pictures that are looked at for one that has a fact


class Icons(StrEnum):
    """Which icons scenes show."""

    SEEN = "seen"  # those that the stand-in was trained on, in new views
    HELD_OUT = "held_out"  # those of the icon set that it never saw


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What pictures are drawn from."""

    icons: Icons = Icons.SEEN
    split: str = "evaluation"  # that faces and styles are of
    avoid: frozenset[str] = frozenset()  # contents that something else looks at


@dataclass(frozen=True)
class Drawn:
    """Drawn pictures by key, kept in memory once drawn: a set of them is a few megabytes."""

    pictures: Mapping[str, Picture]
    _kept: dict[str, Image.Image] = field(default_factory=dict, repr=False)

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        """Return pictures in order."""
        for source in SOURCES:
            own = [
                k for k in keys if k not in self._kept and self.pictures[k].key.startswith(f"{source.name}/")
            ]
            self._kept.update(zip(own, source.load([self.pictures[k] for k in own]), strict=True))
        return [self._kept[key] for key in keys]


def mme_shaped(seed: int = 0, pictures: int = 30, stock: Stock = Stock()) -> QuestionSet:
    """Return yes/no questions in pairs, one right each way, over so many pictures in each sub-task.

    `MME_PARTS` says which sub-tasks there are.
    """
    drawing, items = _Drawing(seed, "MME-shaped", stock), []
    for task, facts in MME_FACTS.items():
        for number in range(pictures):
            fact = facts[number % len(facts)]
            key, seen = drawing.one(fact, number)
            for right in (True, False):
                asked = yes_no(seen, fact, drawing.rng, right=right, ending=ENDING)
                items.append(
                    Item(
                        key=f"{task}/{key}#{asked.answer}",
                        picture=key,
                        question=asked.question,
                        answer=asked.answer,
                        category=task,
                        group=f"{task}/{key}",
                    )
                )
    return drawing.of(items)


def gqa_shaped(seed: int = 0, questions: int = 360, stock: Stock = Stock()) -> QuestionSet:
    """Return questions to be answered in a word or two, several about each picture: two that query a fact for
    one that verifies it. Names are not asked for.
    """
    drawing, items, turn = _Drawing(seed, "GQA-shaped", stock), list[Item](), 0
    while len(items) < questions:
        key, seen = drawing.one(fact := FACTS[turn % len(FACTS)], turn // len(FACTS))
        others = [f for f in FACTS if f in seen.facts and f != fact]
        chosen = [fact, *drawing.rng.sample(others, min(ABOUT - 1, len(others)))]
        for each in chosen[: questions - len(items)]:
            verify = len(items) % 3 == 2
            if verify:
                asked = yes_no(seen, each, drawing.rng, right=drawing.rng.random() < 0.5)
            else:
                asked = open_question(seen, each, drawing.rng)
            items.append(
                Item(
                    key=str(len(items)),
                    picture=key,
                    question=asked.question,
                    answer=asked.answer,
                    category="verify" if verify else "query",
                )
            )
        turn += 1
    return drawing.of(items)


def mmbench_shaped(
    seed: int = 0, questions: int = 90, stock: Stock = Stock(), options: int = 4
) -> QuestionSet:
    """Return questions with options in all rotations. Names are not asked for."""
    drawing, items = _Drawing(seed, "MMBench-shaped", stock), []
    for number in range(questions):
        fact = FACTS[number % len(FACTS)]
        key, seen = drawing.one(fact, number // len(FACTS))
        right = seen.facts[fact]
        texts = drawing.rng.sample([v for v in VALUES[fact] if v != right], options - 1)
        texts.insert(drawing.rng.randrange(options), right)
        items.append(
            Item(
                key=str(number),
                picture=key,
                question=drawing.rng.choice(OPEN[fact]),
                answer=LETTERS[texts.index(right)],
                category=fact,
                level=LEVELS.get(fact, "thing"),
                options=tuple(zip(LETTERS, texts, strict=False)),
            )
        )
    return drawing.of(circular(items)[0])


class _Drawing:
    """Draws pictures that show a fact, each once in a set."""

    def __init__(self, seed: int, name: str, stock: Stock) -> None:
        self.name, self.rng, self.stock = name, rng_for(seed, name), stock
        self.icon_sets = TRAINED_SETS if stock.icons is Icons.SEEN else (HELD_OUT_SET,)
        self.pictures: dict[str, Picture] = {}
        self._names = self.rng.sample(NAMES, len(NAMES))

    def one(self, fact: str, number: int) -> tuple[str, Shown]:
        """Return a picture that shows a fact, and what else it shows; names and numbers of things come in
        equal parts.
        """
        wanted = NUMBERS[number % len(NUMBERS)] if fact == "count" else None
        draw = self._face(number) if fact in FACES else self._cell if fact == "style" else self._scene
        for _ in range(TRIES):
            picture = draw()
            key, seen = f"{picture.key}#{picture.view}", shown(picture)
            fits = fact in seen.facts and wanted in (None, seen.facts[fact])
            if fits and key not in self.pictures and _view_of(picture) not in self.stock.avoid:
                self.pictures[key] = picture
                return key, seen
        raise RunError(f"{self.name}: no further picture shows a {fact}", found=f"{number} of them")

    def _face(self, number: int) -> Callable[[], Picture]:
        name = self._names[number % len(self._names)]
        faces = Portraits().pictures(name, self.stock.split)
        return lambda: self.rng.choice(faces)

    def _scene(self) -> Picture:
        icon_set = self.rng.choice(self.icon_sets)
        concept = self.rng.choice(VALUES["left"])
        view = VIEW[self.stock.split] + self.rng.randrange(VIEWS)
        return Picture(key=f"scenes/{icon_set}/{concept}", concept=concept, domain="emoji", view=view)

    def _cell(self) -> Picture:
        canvas = Canvas()
        return self.rng.choice(canvas.pictures(self.rng.choice(canvas.concepts()), self.stock.split))

    def of(self, items: Sequence[Item]) -> QuestionSet:
        """Return the set of questions with what was drawn for them."""
        return QuestionSet(name=self.name, items=tuple(items), album=Drawn(self.pictures))


def check_apart(questions: QuestionSet, sets: ConceptSets) -> None:
    """Raise RunError if a drawn question set shows a view of what an edit or its search looks at."""
    assert isinstance(questions.album, Drawn)
    if shared := sorted({_view_of(p) for p in questions.album.pictures.values()} & looked_at(sets)):
        raise RunError(
            f"data: {questions.name} shows {len(shared)} pictures that the edit looks at",
            found=", ".join(shared[:5]),
        )


def looked_at(sets: ConceptSets) -> frozenset[str]:
    """Return the contents that an edit or its search looks at."""
    parts = (sets.forget, sets.retain, sets.validation.forget, sets.validation.retain)
    return frozenset(_view_of(p) for pairs in parts for p in pairs.pictures)


def _view_of(picture: Picture) -> str:
    """Return what is drawn: a portrait is its traits, of icons each view is another picture."""
    return f"{content(picture.key)}#{picture.view}"
