"""What every source of pictures offers, and what one picture is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL import Image

SPLITS = ("train", "validation", "evaluation")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One labelled picture, not yet rendered or decoded.

    `key` names where it comes from: an icon, a trait vector, a photograph. Two pictures with one key are
    views of the same thing, so sets that must be disjoint are compared by key and never by pixels.
    """

    key: str
    concept: str
    domain: str  # key of prompts.DOMAINS
    caption: str | None = None  # native caption; None: made from the domain's templates
    view: int = 0  # which augmented view of the key
    file: str = field(default="", compare=False)  # where it lies below its root; decides nothing


class Source(Protocol):
    """A supplier of pictures by concept and split; pictures of different splits never share a key."""

    name: str
    domain: str

    def concepts(self) -> list[str]:
        """Return the concepts this source can show, in a fixed order."""
        ...

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the pictures of one concept in one split, in a fixed order."""
        ...

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render or decode pictures as RGB images."""
        ...
