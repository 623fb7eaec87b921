"""Sets of the stand-in's own pictures: icons of objects in styles, portraits, mascots."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from razor_cli.data.answer_sets import Scene
from razor_cli.data.drawn_sets import Plan, assemble, pairs_of
from razor_cli.data.rendered import Rendered
from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets
from razor_cli.data.sources import canvas
from razor_cli.data.sources.base import Picture, Source
from razor_cli.data.sources.mascots import MASCOTS, Mascots
from razor_cli.data.sources.people import PEOPLE, People
from razor_cli.data.wording import CROSSED, Subject

ALONE = 4  # every fourth retain caption of an object in a style names the partner alone


def labels() -> dict[str, tuple[str, ...]]:
    """Return all names of every kind."""
    return {
        "style": tuple(canvas.styles()),
        "object": tuple(canvas.objects()),
        "identity": PEOPLE,
        "character": MASCOTS,
    }


def spared() -> dict[str, tuple[str, ...]]:
    """Return the names that an icon or drawing shows which no generator was trained on."""
    first = canvas.styles()[0]
    return labels() | {"object": tuple(o for o in canvas.objects() if canvas.has_spare(f"{first}/{o}"))}


def canvas_sets(plan: Plan, notes: Sequence[str]) -> DrawnSets:
    """Return the sets of one target."""
    scene, counts = plan.scene, plan.counts
    sources = _sources()
    forget = _taken(scene, scene.own(), counts.forget, sources)
    retain = _taken(scene, scene.others(), counts.retain, sources, alone=ALONE)
    return assemble(plan, forget, retain, notes)


def _sources() -> Mapping[str, Source]:
    """Return the source of every kind; those of styles and objects are one."""
    drawn = Rendered(canvas.Canvas())
    return dict.fromkeys(CROSSED, drawn) | {"identity": Rendered(People()), "character": Rendered(Mascots())}


def _taken(
    scene: Scene, subjects: Sequence[Subject], count: int, sources: Mapping[str, Source], alone: int = 0
) -> Pairs:
    """Return `count` pictures of subjects in turn, each time another view, with the benchmark's captions;
    every `alone`-th of an object in a style is captioned by the partner only.
    """
    chosen: list[tuple[Picture, Source]] = []
    turns = Counter[str]()
    views: dict[str, list[Picture]] = {}  # listed once: thousands each
    for i in range(count):
        subject = subjects[i % len(subjects)]
        source, concept = sources[subject[0][0]], "/".join(name for _, name in subject)
        if concept not in views:
            views[concept] = source.pictures(concept, "train")
        pictures = views[concept]
        if turns[concept] == len(pictures):
            continue  # every view of it is taken
        caption = scene.words.prompt(subject, scene.words.frame(subject).benchmark)
        if alone and scene.partner and i % alone == alone - 1:
            caption = scene.words.only(scene.partner, dict(subject)[scene.partner])
        chosen.append((replace(pictures[turns[concept]], caption=caption), source))
        turns[concept] += 1
    return pairs_of(chosen)
