"""Synthetic portraits: forty names, each with a drawn face of its own. The name may be real, the face is
invented.

Hair shape and colour, skin, beard and nose fix an identity; eyes, brows, mouth, clothes, colours, background
and a small affine change vary. The varied traits are the picture's key, so splits are disjoint in trait
vectors.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import python_avatars as pa
from PIL import Image

from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.render import color, place, rasterize

PAPER_NAMES = (  # RAZOR Table 6
    "Scarlett Johansson",
    "Taylor Swift",
    "Robert Downey Jr.",
    "Jeff Bezos",
    "Kanye West",
    "Tom Cruise",
    "Kim Kardashian",
    "Barack Obama",
    "Lady Gaga",
    "Natalie Portman",
)
OTHER_NAMES = (
    "Elon Musk",
    "Mark Zuckerberg",
    "Ada Quill",
    "Boris Tamm",
    "Chidi Okarra",
    "Dalia Fenwick",
    "Emre Solak",
    "Freya Lindqvar",
    "Gustav Orlo",
    "Hana Mirov",
    "Ivo Castellan",
    "Jun Takemori",
    "Keziah Holt",
    "Leandro Vasq",
    "Mina Petrossa",
    "Nils Abernath",
    "Oona Blackwood",
    "Pavel Drozh",
    "Quentin Marsh",
    "Rosa Delmar",
    "Soren Hald",
    "Tamsin Reyk",
    "Umar Zayeed",
    "Vera Stolz",
    "Wendell Pike",
    "Xenia Corvo",
    "Yusuf Amrani",
    "Zelda Thorne",
    "Arlo Finch",
    "Brielle Danto",
)
NAMES = PAPER_NAMES + OTHER_NAMES
BEARDLESS = {
    "Scarlett Johansson",
    "Taylor Swift",
    "Kim Kardashian",
    "Lady Gaga",
    "Natalie Portman",
    "Ada Quill",
    "Dalia Fenwick",
    "Freya Lindqvar",
    "Hana Mirov",
    "Keziah Holt",
    "Mina Petrossa",
    "Oona Blackwood",
    "Rosa Delmar",
    "Tamsin Reyk",
    "Vera Stolz",
    "Xenia Corvo",
    "Zelda Thorne",
    "Brielle Danto",
}

HAIR = [
    "BIG_HAIR",
    "BOB",
    "BUN",
    "CURLY",
    "CURVY",
    "DREADS",
    "FRIZZLE",
    "FRO",
    "LONG_NOT_TOO_LONG",
    "MIA_WALLACE",
    "SHAGGY",
    "SHAGGY_MULLET",
    "SHAVED_SIDES",
    "SHORT_CURLY",
    "SHORT_FLAT",
    "SHORT_WAVED",
    "SIDES",
    "STRAIGHT_1",
    "STRAIGHT_STRAND",
    "BRAIDS",
    "CORNROWS",
    "EINSTEIN_HAIR",
    "ELVIS",
    "EVIL_SPIKE",
    "LOOSE_HAIR",
    "MOHAWK",
    "PIXIE",
    "POMPADOUR",
    "WILD",
]
CLOTHES = [
    "BLAZER_SHIRT",
    "BLAZER_SWEATER",
    "COLLAR_SWEATER",
    "GRAPHIC_SHIRT",
    "HOODIE",
    "OVERALL",
    "SHIRT_CREW_NECK",
    "SHIRT_SCOOP_NECK",
    "SHIRT_V_NECK",
    "BOND_SUIT",
]
EYES = ["CLOSED", "DEFAULT", "EYE_ROLL", "HAPPY", "SIDE", "SQUINT", "SURPRISED", "WINK"]
BROWS = [
    "ANGRY_NATURAL",
    "DEFAULT_NATURAL",
    "FLAT_NATURAL",
    "FROWN_NATURAL",
    "RAISED_EXCITED_NATURAL",
    "SAD_CONCERNED",
    "UNIBROW_NATURAL",
]
MOUTHS = [
    "CONCERNED",
    "DEFAULT",
    "DISBELIEF",
    "EATING",
    "GRIMACE",
    "SAD",
    "SERIOUS",
    "SMILE",
    "TONGUE",
    "TWINKLE",
    "BIG_SMILE",
]
GLASSES = ("KURT", "PRESCRIPTION_1", "PRESCRIPTION_2", "ROUND", "SUNGLASSES", "WAYFARERS")
PER_SPLIT = {"train": 240, "validation": 120, "evaluation": 120}


@dataclass(frozen=True)
class Traits:
    """What makes a face this person's: five traits, pairwise different in at least three between
    identities.
    """

    hair: str
    hair_color: str
    skin: str
    beard: str
    nose: str

    def differences(self, other: Traits) -> int:
        """Count the traits in which two identities differ."""
        return sum(a != b for a, b in zip(vars(self).values(), vars(other).values(), strict=True))


@cache
def identities() -> dict[str, Traits]:
    """Return the fixed traits of every name, drawn once from a fixed seed."""
    rng = random.Random("razor-cli portraits 1")
    people: dict[str, Traits] = {}
    while len(people) < len(NAMES):
        name = NAMES[len(people)]
        beard = "NONE" if name in BEARDLESS else rng.choice([b.name for b in pa.FacialHairType])
        new = Traits(
            hair=rng.choice(HAIR),
            hair_color=rng.choice([c.name for c in pa.HairColor]),
            skin=rng.choice([s.name for s in pa.SkinColor]),
            beard=beard,
            nose=rng.choice([n.name for n in pa.NoseType]),
        )
        if all(new.differences(other) >= 3 for other in people.values()):
            people[name] = new
    return people


@cache
def _trait_vectors(name: str) -> tuple[str, ...]:
    """Return distinct varied-trait vectors of one name, in a fixed random order, enough for all splits."""
    rng = random.Random(f"razor-cli portraits {name}")
    found: dict[str, None] = {}
    traits = (EYES, BROWS, MOUTHS, CLOTHES, [c.name for c in pa.ClothingColor])
    while len(found) < sum(PER_SPLIT.values()):
        found["/".join(rng.choice(choices) for choices in traits)] = None
    return tuple(found)


def portrait_svg(
    name: str | Traits,
    vector: str,
    view: int = 0,
    accessory: str = "NONE",
    ground: str | None = None,
    spread: float = 0.5,
) -> str:
    """Return the SVG of one portrait: identity traits of `name` or given ones, varied traits of `vector`, an
    accessory where one is named, on a background of the colour `ground` or, without one, of a random colour.
    """
    who = name if isinstance(name, Traits) else identities()[name]
    eyes, brows, mouth, clothes, cloth_color = vector.split("/")
    inner = pa.Avatar(
        style=pa.AvatarStyle.TRANSPARENT,
        top=pa.HairType[who.hair],
        hair_color=pa.HairColor[who.hair_color],
        facial_hair_color=pa.HairColor[who.hair_color],
        skin_color=pa.SkinColor[who.skin],
        facial_hair=pa.FacialHairType[who.beard],
        nose=pa.NoseType[who.nose],
        eyes=pa.EyeType[eyes],
        eyebrows=pa.EyebrowType[brows],
        mouth=pa.MouthType[mouth],
        clothing=pa.ClothingType[clothes],
        clothing_color=pa.ClothingColor[cloth_color],
        accessory=pa.AccessoryType[accessory],
    ).render()
    rng = random.Random(f"{name} {vector} {view}")
    return place(_as_nested(inner), (264, 280), ground or color(rng), rng, spread)


def _as_nested(svg: str) -> str:
    """Drop the XML prologue and the pixel size, so that the drawing scales inside another document."""
    start = svg.index("<svg")
    return re.sub(r'width="264px" height="280px"', 'width="264" height="280"', svg[start:], count=1)


class Portraits:
    """Source of synthetic portraits; concepts are the forty names."""

    name = "portraits"
    domain = "person"

    def concepts(self) -> list[str]:
        """Return the names."""
        return list(NAMES)

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the portraits of one name; splits use different trait vectors."""
        start = sum(PER_SPLIT[s] for s in SPLITS[: SPLITS.index(split)])
        vectors = _trait_vectors(concept)[start : start + PER_SPLIT[split]]
        return [Picture(key=f"portraits/{concept}/{v}", concept=concept, domain=self.domain) for v in vectors]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render portraits, about 7 ms each."""
        return [rasterize(portrait_svg(p.concept, p.key.split("/", 2)[2], p.view)) for p in pictures]


class PortraitsWithGlasses(Portraits):
    """The same portraits with one of six kinds of glasses, which the stand-in never saw: a shift of
    distribution.
    """

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the portraits of one name in one split; the kind of glasses follows from the
        varied traits.
        """
        return [
            replace(
                p, key=f"{p.key}/{random.Random(p.key).choice(GLASSES)}"
            )  # as much a part of the picture as its other traits
            for p in super().pictures(concept, split)
        ]

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Render portraits, with glasses where the key ends in them."""
        images = []
        for p in pictures:
            vector = p.key.split("/", 2)[2]
            plain, _, last = vector.rpartition("/")
            shown = (plain, last) if last in GLASSES else (vector, "NONE")
            images.append(rasterize(portrait_svg(p.concept, shown[0], p.view, shown[1])))
        return images
