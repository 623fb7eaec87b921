"""Scenes of emoji to ask about: one icon, up to four alike, or two different ones side by side, on a ground
of a named colour.

The icon is a picture's key, and splits use different icon sets, as those of the emoji do.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.emoji import SPLIT_SETS, VIEW_OFFSET, Emoji, packed
from razor_cli.data.sources.render import rasterize

GROUNDS = {
    "red": (214, 69, 65),
    "orange": (245, 171, 53),
    "yellow": (247, 231, 110),
    "green": (112, 193, 122),
    "blue": (96, 150, 230),
    "purple": (165, 115, 210),
    "grey": (160, 160, 160),
    "white": (250, 250, 250),
}
VIEWS = {"train": 24, "validation": 12, "evaluation": 12}
SHARES = {"one": 0.6, "many": 0.2, "pair": 0.2}  # kinds of scenes
CELLS = ((28, 28), (72, 28), (28, 72), (72, 72))  # centres of four icons, in percent
BESIDE = ((27, 50), (73, 50))  # and of two


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What one picture shows: `count` icons of one concept, or that one on the left of `right`."""

    icon_set: str
    concept: str
    ground: str  # key of GROUNDS
    count: int = 1
    right: str | None = None


def scene_of(picture: Picture) -> Scene:
    """Return what a picture shows; it follows from icon and view."""
    _, icon_set, concept = picture.key.split("/")
    rng = random.Random(f"scene {icon_set} {concept} {picture.view}")
    kind = rng.choices(list(SHARES), list(SHARES.values()))[0]
    ground = rng.choice(list(GROUNDS))
    others = [c for c in Emoji().concepts() if c != concept]
    return Scene(
        icon_set=icon_set,
        concept=concept,
        ground=ground,
        count=rng.choice((2, 3, 4)) if kind == "many" else 1,
        right=rng.choice(others) if kind == "pair" else None,
    )


def scene_svg(scene: Scene, rng: random.Random) -> str:
    """Return the SVG of a scene; `rng` turns, scales and moves its icons and shades its ground."""
    shade = "#" + "".join(f"{max(0, min(255, v + rng.randint(-12, 12))):02x}" for v in GROUNDS[scene.ground])
    if scene.right:
        shown = [(scene.concept, BESIDE[0], 46.0), (scene.right, BESIDE[1], 46.0)]
    elif scene.count > 1:
        cells = rng.sample(CELLS, scene.count)
        shown = [(scene.concept, cell, 42.0) for cell in cells]
    else:
        shown = [(scene.concept, (50 + rng.uniform(-8, 8), 50 + rng.uniform(-8, 8)), 84.0)]
    icons = "".join(_icon(scene.icon_set, *each, rng) for each in shown)
    links = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<svg {links} viewBox="0 0 100 100"><rect width="100" height="100" fill="{shade}"/>{icons}</svg>'


def _icon(icon_set: str, concept: str, centre: tuple[float, float], size: float, rng: random.Random) -> str:
    icon = packed()["icons"][icon_set][concept]
    width, height = icon["width"], icon["height"]
    scale = size / max(width, height) * rng.uniform(0.85, 1.1)
    x, y = (at + rng.uniform(-2, 2) for at in centre)
    move = (
        f"translate({x:.3f} {y:.3f}) rotate({rng.uniform(-15, 15):.3f}) scale({scale:.5f}) "
        f"translate({-width / 2} {-height / 2})"
    )
    return f'<g transform="{move}">{icon["body"]}</g>'


class Scenes:
    """Source of scenes; concepts are those of the emoji."""

    name = "scenes"
    domain = "emoji"

    def concepts(self) -> list[str]:
        """Return the concepts."""
        return Emoji().concepts()

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return scenes of one concept; splits use different icon sets."""
        views = range(VIEW_OFFSET[split], VIEW_OFFSET[split] + VIEWS[split])
        return [
            Picture(key=f"scenes/{icon_set}/{concept}", concept=concept, domain=self.domain, view=view)
            for view in views
            for icon_set in SPLIT_SETS[split]
        ]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render scenes, about 2 ms each."""
        return [
            rasterize(scene_svg(scene_of(p), random.Random(f"placed {p.key} {p.view}"))) for p in pictures
        ]
