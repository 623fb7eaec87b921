"""Which pictures a model that draws is asked for: prompts and seeds of the search and of the answers.

Seeds tell by their last two bits what they are for, so no answer shares a seed with a search or with a
picture that an edit is computed from.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

from razor_cli.data.choices import AnswerSet
from razor_cli.data.sampling import rng_for
from razor_cli.data.sets import together
from razor_cli.data.shots import BENCHMARK, Shot, Shots
from razor_cli.data.wording import CELL, CROSSED, Subject, Words, of_cell

FIVE = (188, 288, 588, 688, 888)  # of the benchmark's answer set, the same for every prompt
ROLES = ("evaluation", "validation", "forget", "retain")  # the remainder of a seed by 4; the five leave 0
QUICK = "slug_quick"  # SLUG's own sentences, of which each is a template of this name
QUICK_CELL = "A {object} in {style} style"
QUICK_ALONE = {"object": "A painting of {object}", "style": "A painting in {style} style"}
QUICK_SHOTS = 10  # of the target, and of the others


@dataclass(frozen=True, kw_only=True)
class Scene:
    """All that there is to draw, and what of it goes.

    `labels` holds the names of every kind, those of the axis with what goes first, `going` of them; `near`
    those that lie nearest to it.
    """

    axis: str
    labels: Mapping[str, tuple[str, ...]]
    near: tuple[str, ...]
    words: Words
    seed: int
    going: int = 1

    @property
    def gone(self) -> tuple[str, ...]:
        """The names that go."""
        return self.labels[self.axis][: self.going]

    @property
    def target(self) -> str:
        """What they are called."""
        return together(self.gone)

    @property
    def partner(self) -> str | None:
        """The kind that pictures of the axis also show, if any."""
        return CROSSED[1 - CROSSED.index(self.axis)] if self.axis in CROSSED else None

    @property
    def partners(self) -> tuple[str, ...]:
        """The names of that kind."""
        return self.labels[self.partner] if self.partner else ()

    def own(self) -> list[Subject]:
        """Return what shows the target, partners in an order that the seed draws; several names in turn."""
        return self._spread(self.gone, "own")

    def others(self) -> list[Subject]:
        """Return what shows another name of the kind, names in turn and the nearest first; with a person or a
        character as target every second one is an object in a style.
        """
        rest = [n for n in self.labels[self.axis][self.going :] if n not in self.near]
        names = [*self.near, *rng_for(self.seed, f"names {self.axis}").sample(rest, len(rest))]
        found = self._spread(names, "others")
        cells = [] if self.partner or self.axis == CELL else self._cells()
        return [s for i, c in enumerate(cells) for s in (*found[i % len(names) :][:1], c)] or found

    def _spread(self, names: Sequence[str], label: str) -> list[Subject]:
        """Return each name with each partner once; any part of it from the beginning is balanced in both."""
        if self.axis == CELL:
            return [of_cell(n) for n in names]
        if not self.partner:
            return [((self.axis, n),) for n in names]
        partners = rng_for(self.seed, f"partners {label}").sample(self.partners, len(self.partners))
        return [self._cell(n, p) for n, p in _crossed(names, partners)]

    def _cell(self, name: str, partner: str) -> Subject:
        cell = {self.axis: name, str(self.partner): partner}
        return tuple((kind, cell[kind]) for kind in CROSSED)

    def _cells(self) -> list[Subject]:
        """Return the objects in styles of a scene whose target is neither."""
        if not all(self.labels.get(kind) for kind in CROSSED):
            return []
        styles, objects = (
            rng_for(self.seed, f"cells {k}").sample(self.labels[k], len(self.labels[k])) for k in CROSSED
        )
        return [(("style", s), ("object", o)) for s, o in _crossed(styles, objects)]


def _crossed(names: Sequence[str], partners: Sequence[str]) -> list[tuple[str, str]]:
    """Return each name with each partner once, names in turn; in each turn they have far apart partners."""
    apart = max(1, len(partners) // max(1, len(names)))
    turns = product(range(len(partners)), enumerate(names))
    return [(n, partners[(turn + i * apart) % len(partners)]) for turn, (i, n) in turns]


class Seeds:
    """Gives seeds out, each one once: a hash of prompt, number, role and the run's seed."""

    def __init__(self, seed: int) -> None:
        self.seed, self._given, self._numbers = seed, set[int](), Counter[tuple[str, str]]()

    def next(self, prompt: str, role: str) -> int:
        """Return the next seed of a prompt for one of ROLES."""
        while True:
            number = self._numbers[prompt, role]
            self._numbers[prompt, role] += 1
            text = f"{self.seed}\t{number}\t{role}\t{prompt}"
            drawn = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")
            found = drawn % 2**29 * 4 + ROLES.index(role)
            if found not in self._given and found not in FIVE:
                self._given.add(found)
                return found


def validation(scene: Scene, seeds: Seeds, own: int, others: int) -> Shots:
    """Return what a search draws: other templates and seeds than the answers have."""
    return Shots(
        _interleaved(
            asked(scene, seeds, scene.own(), own, role="validation", trials=True),
            asked(scene, seeds, scene.others(), others, role="validation", trials=True),
        )
    )


def answers(scene: Scene, seeds: Seeds, which: AnswerSet, counts: tuple[int, int, int]) -> Shots:
    """Return what is judged; `counts` are pictures of the target, of others, and with unseen templates, of
    the reduced set.
    """
    if which is AnswerSet.ANSWER_SET:
        return _answer_set(scene)
    if which is AnswerSet.SLUG_QUICK:
        return _quick(scene, seeds)
    own, others, unseen = counts
    half = unseen // 2
    return Shots(
        [
            *asked(scene, seeds, scene.own(), own, role="evaluation"),
            *asked(scene, seeds, scene.others(), others, role="evaluation"),
            *asked(scene, seeds, scene.own(), unseen - half, role="evaluation", unseen=True),
            *asked(scene, seeds, scene.others(), half, role="evaluation", unseen=True),
        ]
    )


def asked(
    scene: Scene,
    seeds: Seeds,
    subjects: Sequence[Subject],
    count: int,
    *,
    role: str,
    trials: bool = False,
    unseen: bool = False,
) -> list[Shot]:
    """Return `count` shots of subjects in turn, each kind of subject with its templates in turn."""
    shots, numbers = [], Counter[str]()
    for i in range(count if subjects else 0):
        subject = subjects[i % len(subjects)]
        frame = scene.words.frame(subject)
        templates = frame.trials if trials else frame.unseen if unseen else (frame.benchmark,)
        own = dict(subject).get(scene.axis, "")
        number = numbers[own]
        numbers[own] += 1
        # moved on after each round of partners, so that no partner meets the same template every time
        turn = number + (number // len(scene.partners) if scene.partners else 0)
        template = templates[turn % len(templates)]
        prompt = scene.words.prompt(subject, template)
        label = template if trials or unseen else BENCHMARK
        shots.append(
            Shot(prompt=prompt, seed=seeds.next(prompt, role), labels=tuple(subject), template=label)
        )
    return shots


def _answer_set(scene: Scene) -> Shots:
    """Return every theme with every object at the benchmark's five seeds, those of the target first."""
    subjects = [*scene.own(), *scene.others()]
    prompts = [(s, scene.words.prompt(s, scene.words.frame(s).benchmark)) for s in subjects]
    return Shots(Shot(prompt=p, seed=seed, labels=s) for s, p in prompts for seed in FIVE)


def _quick(scene: Scene, seeds: Seeds) -> Shots:
    """Return SLUG's own answers: ten pictures of the target and of others with partners at random, one of
    each name of the other kind.
    """
    rng = rng_for(scene.seed, "slug quick")

    def shot(subject: Subject, template: str) -> Shot:
        prompt = template.format(**dict(subject))  # names as the lists write them, underscores kept
        seed = seeds.next(prompt, "evaluation")
        return Shot(prompt=prompt, seed=seed, labels=subject, template=QUICK)

    assert scene.partner is not None  # refused before: the set is of objects in styles
    own = [shot(rng.choice(scene.own()), QUICK_CELL) for _ in range(QUICK_SHOTS)]
    others = [shot(rng.choice(scene.others()), QUICK_CELL) for _ in range(QUICK_SHOTS)]
    alone = [shot(((scene.partner, n),), QUICK_ALONE[scene.partner]) for n in scene.partners]
    return Shots([*own, *others, *alone])


def _interleaved(first: Sequence[Shot], second: Sequence[Shot]) -> list[Shot]:
    """Return two lists as one, evenly mixed, so that any part from the beginning holds its share of both."""
    placed = [((i + 0.5) / len(part), shot) for part in (first, second) for i, shot in enumerate(part)]
    return [shot for _, shot in sorted(placed, key=lambda pair: pair[0])]
