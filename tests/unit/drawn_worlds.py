"""Sets of a model that draws, of a few made-up names, and answers that are known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from razor_cli.data.sets import Pairs
from razor_cli.data.shots import BENCHMARK, DrawnSets, Shot, Shots
from razor_cli.families.diffusion.protocol import Protocol

STYLES = ("noto", "mono", "cubism", "crayon")
OBJECTS = ("cats", "dogs", "bears")
PEOPLE = ("taylor", "elon", "zed")
OTHER = "a {style} drawing of {object}"
SEEDS = (1, 5)


def cells(
    seeds: Sequence[int] = SEEDS, template: str = BENCHMARK, styles: Sequence[str] = STYLES
) -> list[Shot]:
    """Return every style with every object at every seed."""
    words = "{object} image in {style} style" if template == BENCHMARK else template
    return [
        Shot(
            prompt=words.format(style=s, object=o),
            seed=seed,
            labels=(("style", s), ("object", o)),
            template=template,
        )
        for s, o, seed in product(styles, OBJECTS, seeds)
    ]


def people(seeds: Sequence[int] = SEEDS) -> list[Shot]:
    """Return every person at every seed."""
    return [
        Shot(prompt=f"a photo of {p}", seed=seed, labels=(("identity", p),))
        for p, seed in product(PEOPLE, seeds)
    ]


def sets_of(
    axis: str, target: str, shots: Sequence[Shot], validation: Sequence[Shot] = (), **more: Any
) -> DrawnSets:
    """Return sets of these shots; the target first among its names."""
    labels = {"style": STYLES, "object": OBJECTS, "identity": PEOPLE}
    own = (target, *(n for n in labels[axis] if n != target))
    prompts = {
        n: {
            "style": f"an image in {n} style",
            "object": f"a {n} image",
            "identity": f"a photo of {n}",
        }[axis]
        for n in own
    }
    given: dict[str, Any] = {
        "target_prompts": (prompts[target],),
        "retain_prompts": tuple(p for n, p in prompts.items() if n != target),
        "forget": Pairs((), {}),
        "retain": Pairs((), {}),
    }
    return DrawnSets(
        target=target,
        axis=axis,
        validation=Shots(validation),
        evaluation=Shots(shots),
        labels={**labels, axis: own},
        prompts=prompts,
        generic_prompt="an image",
        anchor="an image",
        **{**given, **more},
    )


def places(shots: Sequence[Shot], labels: Mapping[str, Sequence[str]]) -> dict[str, NDArray[np.int64]]:
    """Return for each kind that any shot shows the place of what it shows, -2 where it shows
    nothing of it.
    """
    kinds = dict.fromkeys(kind for s in shots for kind, _ in s.labels)
    return {
        kind: np.array([-2 if (n := s.shows(kind)) is None else list(labels[kind]).index(n) for s in shots])
        for kind in kinds
    }


def protocol_of(sets: DrawnSets) -> Protocol:
    """Return the protocol of sets whose judges know their labels in order."""
    return Protocol(sets=sets, shots=sets.evaluation, wanted=places(sets.evaluation, sets.labels))


def changed(
    said: Mapping[str, NDArray[np.int64]], kind: str, where: Mapping[int, int]
) -> dict[str, NDArray[np.int64]]:
    """Return answers of which some of one kind are others: shot -> what the judge says."""
    found = {k: v.copy() for k, v in said.items()}
    for row, label in where.items():
        found[kind][row] = label
    return found
