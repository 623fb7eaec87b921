"""Emoji of one hundred concepts in seven icon sets; one set is never trained on by the stand-in.

The icon is a picture's key: views differ in angle, size, place and background. Splits use different icon
sets, so an evaluation picture never shows an icon that was trained on or edited with.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import Any

from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.render import color, place, rasterize

TRAINED_SETS = (
    "noto",
    "noto-v1",
    "fluent-emoji-flat",
    "fluent-emoji-high-contrast",
    "twemoji",
    "emojione-monotone",
)
HELD_OUT_SET = "emojione"
SPLIT_SETS = {
    "train": ("noto", "fluent-emoji-flat", "fluent-emoji-high-contrast", "twemoji", "emojione-monotone"),
    "validation": ("noto-v1",),
    "evaluation": (HELD_OUT_SET,),
    "seen": TRAINED_SETS,  # new views of trained icons: never to be printed as held-out accuracy
}
VIEWS = {"train": 8, "validation": 12, "evaluation": 12, "seen": 2}
VIEW_OFFSET = {"train": 0, "validation": 1000, "evaluation": 2000, "seen": 3000}


@cache
def packed() -> dict[str, Any]:
    """Return the packed icons: `licences`, `groups` (concept to Unicode group) and `icons[set][concept]`."""
    file = resources.files("razor_cli.data.concepts").joinpath("emoji.json.gz")
    data: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
    return data


def emoji_svg(icon_set: str, concept: str, view: int, spread: float = 1.0) -> str:
    """Return the SVG of one view of an icon."""
    icon = packed()["icons"][icon_set][concept]
    rng = random.Random(f"{icon_set} {concept} {view}")
    return place(icon["body"], (icon["width"], icon["height"]), color(rng), rng, spread)


class Emoji:
    """Source of emoji views; concepts are the one hundred names that every set draws."""

    name = "emoji"
    domain = "emoji"

    def concepts(self) -> list[str]:
        """Return the concepts."""
        return sorted(packed()["groups"])

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return views of one concept; `split` may also be `seen` (new views of trained icons)."""
        views = range(VIEW_OFFSET[split], VIEW_OFFSET[split] + VIEWS[split])
        return [
            Picture(key=f"emoji/{icon_set}/{concept}", concept=concept, domain=self.domain, view=view)
            for view in views
            for icon_set in SPLIT_SETS[split]
        ]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render views, about 1 ms each."""
        return [rasterize(emoji_svg(p.key.split("/")[1], p.concept, p.view)) for p in pictures]
