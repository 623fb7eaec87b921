"""The six styles of the canvas as concepts: what a style is shown by are icons of several objects.

Parts are cut by object, so that a style that is forgotten with some objects is judged by others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from PIL import Image

from razor_cli.data.canvas_prompts import style_prompt
from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.canvas import Canvas, objects, styles

QUARTERS = {"train": (0, 1), "validation": (2,), "evaluation": (3,)}  # of the objects, every fourth one


class Styles:
    """Source of icon views; concepts are the styles, splits show different objects in different views."""

    name = "styles"
    domain = "style"

    def __init__(self) -> None:
        self._canvas = Canvas()

    def concepts(self) -> list[str]:
        """Return the styles."""
        return styles()

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return views of the part's objects in one style."""
        shown = [o for i, o in enumerate(objects()) if i % 4 in QUARTERS[split]]
        cells = [p for o in shown for p in self._canvas.pictures(f"{concept}/{o}", split)]
        said = style_prompt(concept)
        return [replace(p, concept=concept, domain=self.domain, caption=said) for p in cells]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render views, about 5 ms each."""
        return self._canvas.load(pictures)
