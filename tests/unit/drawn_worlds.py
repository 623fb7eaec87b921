<<<<<<< HEAD
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
=======
"""Small made-up places of pictures for models that draw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pictures import picture_bytes
from PIL import Image

from razor_cli.data.ask import Ask

STYLES = ("Van_Gogh", "Monet", "Seed_Images")
OBJECTS = ("Cats", "Dogs")


def asked(axis: str, target: str, **more: Any) -> Ask:
    """Return what a run on a real model asks of its data."""
    return Ask(**{"target": target, "axis": axis, "scenario": axis, "model": "m", "stand_in": False} | more)


def write_canvas(root: Path, each: int = 20, styles: Sequence[str] = STYLES) -> Path:
    """Write UnlearnCanvas' folders for some styles and objects, every picture another one."""
    for number, (style, shown) in enumerate((s, o) for s in styles for o in OBJECTS):
        folder = root / style / shown
        folder.mkdir(parents=True)
        for i in range(each):
            (folder / f"{i + 1}.jpg").write_bytes(picture_bytes(1000 * number + i, "JPEG"))
    return root


def write_canvas_rows(file: Path, each: int = 20, styles: Sequence[str] = STYLES) -> Path:
    """Write the same as one parquet file of the hub's columns."""
    rows = [
        (style, shown, number * 1000 + i)
        for number, (style, shown) in enumerate((s, o) for s in styles for o in OBJECTS)
        for i in range(each)
    ]
    called = {"Seed_Images": "Photo"}
    texts = [f"A {o} image in {called.get(s, s).replace('_', ' ')} style" for s, o, _ in rows]
    images = [{"bytes": picture_bytes(seed, "JPEG"), "path": f"{seed}.jpg"} for _, _, seed in rows]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": images, "text": texts}), file, row_group_size=50)
    return file.parent


class Easel:
    """Draws a plain picture for each prompt and seed, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, int, int, float]] = []

    def __call__(
        self, prompts: Sequence[str], seeds: Sequence[int], *, steps: int, guidance: float
    ) -> list[Image.Image]:
        self.calls += [(p, s, steps, guidance) for p, s in zip(prompts, seeds, strict=True)]
        return [
            Image.new("RGB", (8, 8), (s % 256, len(p) % 256, steps))
            for p, s in zip(prompts, seeds, strict=True)
        ]
>>>>>>> judges
