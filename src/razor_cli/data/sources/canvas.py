"""Icons of sixteen objects in six styles: a small drawn stand-in for the benchmark's style x object canvas.

A cell is one object in one style. Its first icon trains a generator; another icon of the same object, where
the cell has one, is spare: no generator ever saw it. A third one is kept for the exam of the judges alone.
Splits `train`, `validation` and `evaluation` show the first icon in different views (turned, scaled, moved,
slightly recoloured, on white) and so share its key; `spare` and `exam` share a key with no other split.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from PIL import Image

from razor_cli.data.canvas_prompts import BENCHMARK
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.render import SIDE, place, rasterize

WHITE = "#ffffff"
SPREAD = 0.4  # turned by up to 8 degrees, scaled by 0.80 to 0.96, moved by up to 4 %
VIEWS = {"train": 64, "validation": 12, "evaluation": 12, "spare": 12, "exam": 12}
VIEW_OFFSET = {"train": 0, "validation": 1000, "evaluation": 2000, "spare": 3000, "exam": 4000}
ICON_OF = {"train": 0, "validation": 0, "evaluation": 0, "spare": 1, "exam": 2}  # place in the object's list


@cache
def packed() -> dict[str, Any]:
    """Return the packed icons: `licences`, `objects` (object to its icons) and `icons[style][icon]`."""
    file = resources.files("razor_cli.data.concepts").joinpath("canvas.json.gz")
    data: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return data


def styles() -> list[str]:
    """Return the names of the styles in a fixed order."""
    return sorted(packed()["icons"])


def objects() -> list[str]:
    """Return the names of the objects, as the benchmark writes them, in a fixed order."""
    return sorted(packed()["objects"])


def cell(concept: str) -> tuple[str, str]:
    """Return style and object of a concept such as `Noto/Cats`."""
    style, _, shown = concept.partition("/")
    return style, shown


def has_spare(concept: str) -> bool:
    """Say whether a cell has an icon that no generator was trained on; cells without one are judged apart."""
    return len(packed()["objects"][cell(concept)[1]]) > 1


def jitter(image: Image.Image, rng: random.Random) -> Image.Image:
    """Return the picture with slightly other saturation, hue and contrast; white stays white."""
    turn, saturation, contrast = rng.uniform(-8, 8), rng.uniform(0.88, 1.12), rng.uniform(0.94, 1.06)
    x = np.asarray(image).astype(np.float64) / 255
    grey = x.mean(axis=2, keepdims=True)
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn)) / np.sqrt(3)
    c = x - grey  # a turn about the grey axis
    turned = cos * c + sin * (np.roll(c, 1, axis=2) - np.roll(c, -1, axis=2))
    x = 1 - contrast * (1 - grey - saturation * turned)
    return Image.fromarray((x.clip(0, 1) * 255).round().astype(np.uint8))


def icon_svg(style: str, icon: str, view: int, spread: float = SPREAD) -> str:
    """Return the SVG of one view of an icon, on white."""
    drawn = packed()["icons"][style][icon]
    rng = random.Random(f"canvas {style} {icon} {view}")
    return place(drawn["body"], (drawn["width"], drawn["height"]), WHITE, rng, spread)


class Canvas:
    """Source of icon views; concepts are the cells, written `Style/Object`."""

    name = "canvas"
    domain = "emoji"

    def concepts(self) -> list[str]:
        """Return the cells."""
        return [f"{s}/{o}" for s in styles() for o in objects()]

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return views of one cell; none in `spare` or `exam` where the cell has no such icon."""
        style, shown = cell(concept)
        icons = packed()["objects"][shown][ICON_OF[split] : ICON_OF[split] + 1]
        first = VIEW_OFFSET[split]
        return [
            Picture(
                key=f"canvas/{style}/{shown}/{icon}",
                concept=concept,
                domain=self.domain,
                caption=BENCHMARK.format(object=shown, style=style),
                view=view,
            )
            for icon in icons
            for view in range(first, first + VIEWS[split])
        ]

    def load(self, pictures: Sequence[Picture], side: int = SIDE, calm: float = 1.0) -> list[Image.Image]:
        """Render views, about 5 ms each; `calm` scales how far they are turned, scaled and moved."""
        images = []
        for p in pictures:
            _, style, _, icon = p.key.split("/")
            image = rasterize(icon_svg(style, icon, p.view, calm * SPREAD), side)
            images.append(jitter(image, random.Random(f"jitter {p.key} {p.view}")))
        return images
