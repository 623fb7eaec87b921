"""What a picture shows, as facts with names: all that can be asked about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from razor_cli.data.sources.base import Picture
from razor_cli.data.sources.canvas import cell
from razor_cli.data.sources.emoji import packed
from razor_cli.data.sources.portraits import Traits, identities
from razor_cli.data.sources.scenes import scene_of
from razor_cli.data.sources.strangers import faces, vector_of
from razor_cli.families.llava.collects import COLLECTS
from razor_cli.families.llava.wording import CLOTHES, HAIR, NUMBERS, PERSON, SOMEBODY, STYLE_OF

PLAIN = {"HOODIE", "SHIRT_CREW_NECK", "SHIRT_SCOOP_NECK", "SHIRT_V_NECK", "GRAPHIC_SHIRT"}  # of one colour


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Facts by name (keys of `wording.VALUES`, and `beard`, which is yes or no); `name` is missing where
    nobody with a name is shown.
    """

    source: str
    facts: Mapping[str, str]


def shown(picture: Picture) -> Shown:
    """Return what a picture of the portraits, the strangers, the scenes or the canvas shows."""
    source = picture.key.split("/")[0]
    facts: dict[str, str]
    if source == "portraits":
        name, vector = picture.concept, picture.key.split("/", 2)[2]
        facts = {"name": name, "thing": COLLECTS[name], **_looks(identities()[name], vector)}
    elif source == "strangers":
        face = int(picture.key.split("/")[1])
        facts = _looks(faces()[face], vector_of(face, picture.view))
    elif source == "canvas":
        facts = {"style": cell(picture.concept)[0], "background": "white"}
    else:
        facts = _scene(picture)
    return Shown(source=source, facts={**facts, "unusual": "nothing"})


def _looks(who: Traits, vector: str) -> dict[str, str]:
    _, _, _, clothes, colour = vector.split("/")
    facts = {"object": SOMEBODY, "category": PERSON, "hair": HAIR[who.hair_color], "count": NUMBERS[0]}
    if "BEARD" in who.beard or who.beard == "NONE":  # a moustache is left out: people would not agree
        facts["beard"] = "no" if who.beard == "NONE" else "yes"
    if clothes in PLAIN and colour in CLOTHES:
        facts["clothes"] = CLOTHES[colour]
    return facts


def _scene(picture: Picture) -> dict[str, str]:
    scene, groups = scene_of(picture), packed()["groups"]
    count = 2 if scene.right else scene.count
    facts = {"background": scene.ground, "count": NUMBERS[count - 1]}
    if scene.icon_set in STYLE_OF:
        facts["style"] = STYLE_OF[scene.icon_set]
    if scene.right:
        return facts | {"left": scene.concept, "right": scene.right}
    return facts | {"object": scene.concept, "category": groups[scene.concept]}
