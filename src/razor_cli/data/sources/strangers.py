"""Synthetic portraits of nobody: faces in the same drawing as the forty names', each unlike all of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache

import python_avatars as pa
from PIL import Image

from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.portraits import (
    BROWS,
    CLOTHES,
    EYES,
    HAIR,
    MOUTHS,
    Traits,
    identities,
    portrait_svg,
)
from razor_cli.data.sources.render import rasterize

STRANGER = "a stranger"
PER_SPLIT = {"train": 400, "validation": 60, "evaluation": 60}  # faces; each is shown once per view
VIEWS = 4
APART = 3  # traits in which a stranger differs from everybody with a name


@cache
def faces() -> tuple[Traits, ...]:
    """Return distinct faces that belong to no name, in a fixed random order, enough for all splits."""
    rng = random.Random("razor-cli strangers")
    known = identities().values()
    found: dict[Traits, None] = {}
    while len(found) < sum(PER_SPLIT.values()):
        new = Traits(
            hair=rng.choice(HAIR),
            hair_color=rng.choice([c.name for c in pa.HairColor]),
            skin=rng.choice([s.name for s in pa.SkinColor]),
            beard=rng.choice(["NONE", rng.choice([b.name for b in pa.FacialHairType])]),
            nose=rng.choice([n.name for n in pa.NoseType]),
        )
        if all(new.differences(other) >= APART for other in known):
            found[new] = None
    return tuple(found)


def vector_of(face: int, view: int) -> str:
    """Return the varied traits of one view of a face, written as in the keys of portraits."""
    rng = random.Random(f"razor-cli stranger {face} {view}")
    traits = (EYES, BROWS, MOUTHS, CLOTHES, [c.name for c in pa.ClothingColor])
    return "/".join(rng.choice(choices) for choices in traits)


class Strangers:
    """Source of portraits of nobody; its one concept is a stranger, splits show different faces."""

    name = "strangers"
    domain = "person"

    def concepts(self) -> list[str]:
        """Return the one concept."""
        return [STRANGER]

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return views of the faces of one split."""
        first = sum(PER_SPLIT[s] for s in SPLITS[: SPLITS.index(split)])
        return [
            Picture(key=f"strangers/{face}", concept=concept, domain=self.domain, view=view)
            for view in range(VIEWS)
            for face in range(first, first + PER_SPLIT[split])
        ]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render portraits, about 7 ms each."""
        faced = [(int(p.key.split("/")[1]), p.view) for p in pictures]
        return [rasterize(portrait_svg(faces()[f], vector_of(f, v), v)) for f, v in faced]
