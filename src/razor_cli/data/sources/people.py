"""Eight of the synthetic portraits on white, for generators that also draw the canvas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from razor_cli.data.canvas_prompts import identity_prompt
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.canvas import WHITE
from razor_cli.data.sources.portraits import Portraits, portrait_svg
from razor_cli.data.sources.render import SIDE, rasterize

PEOPLE = (  # told apart at 64 pixels by hair and skin
    "Barack Obama",
    "Elon Musk",
    "Jeff Bezos",
    "Kim Kardashian",
    "Mark Zuckerberg",
    "Natalie Portman",
    "Taylor Swift",
    "Tom Cruise",
)


class People(Portraits):
    """Source of portraits on white; concepts are eight names, splits use different trait vectors."""

    name = "people"

    def concepts(self) -> list[str]:
        """Return the names."""
        return list(PEOPLE)

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the portraits of one name in one split."""
        return [
            replace(p, key=p.key.replace("portraits/", "people/", 1), caption=identity_prompt(concept))
            for p in super().pictures(concept, split)
        ]

    def load(self, pictures: Sequence[Picture], side: int = SIDE, calm: float = 1.0) -> list[Image.Image]:
        """Render portraits, about 10 ms each; `calm` scales how far they are turned, scaled and moved."""
        vectors = [(p, p.key.split("/", 2)[2]) for p in pictures]
        return [
            rasterize(portrait_svg(p.concept, v, p.view, ground=WHITE, spread=0.5 * calm), side)
            for p, v in vectors
        ]
