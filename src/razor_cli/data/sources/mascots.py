"""Three invented mascots, drawn here: a blue drop in boots, a green robot, a violet star.

Body and colours fix a mascot; eyes, mouth, arms, an accessory and its colour, and a lean vary. The varied
traits are the picture's key, so splits are disjoint in trait vectors.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache

from PIL import Image

from razor_cli.data.canvas_prompts import mascot_prompt
from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.render import SIDE, place, rasterize

MASCOTS = ("Bolt Tinker", "Pim Puddle", "Zuzu Spark")
EYES = ("open", "happy", "wink", "sleepy", "wide")
MOUTHS = ("smile", "grin", "oh", "flat", "frown")
ARMS = ("down", "up", "wave", "point")
ACCESSORIES = ("none", "hat", "scarf", "bow", "flag")
COLORS = ("#d62828", "#f7b801", "#2a9d4a", "#5b3fd6", "#ff7fb0")
LEANS = ("left", "straight", "right")
TRAITS = (EYES, MOUTHS, ARMS, ACCESSORIES, COLORS, LEANS)
PER_SPLIT = {"train": 240, "validation": 120, "evaluation": 120}
LINE = 'stroke="#20232a" stroke-width="2.4" stroke-linecap="round" stroke-linejoin="round"'


def _eyes(kind: str, y: float, gap: float) -> str:
    """Return both eyes at height `y`, `gap` apart from the middle."""
    left, right = 50 - gap, 50 + gap
    opened = '<circle cx="{x}" cy="{y}" r="{r}" fill="#fff" {line}/><circle cx="{x}" cy="{y}" r="2.4"/>'
    closed = '<path d="M{a} {y} q4.5 {bend} 9 0" fill="none" {line}/>'

    def one(x: float, shape: str) -> str:
        if shape in ("open", "wide"):
            return opened.format(x=x, y=y, r=5 if shape == "open" else 7, line=LINE)
        return closed.format(a=x - 4.5, y=y, bend=-7 if shape == "happy" else 4, line=LINE)

    return one(left, kind if kind != "wink" else "open") + one(right, kind if kind != "wink" else "happy")


def _mouth(kind: str, y: float) -> str:
    """Return the mouth at height `y`."""
    shapes = {
        "smile": f'<path d="M42 {y} q8 8 16 0" fill="none" {LINE}/>',
        "grin": f'<path d="M41 {y} h18 q-2 10 -9 10 q-7 0 -9 -10z" fill="#7a1020" {LINE}/>',
        "oh": f'<ellipse cx="50" cy="{y + 2}" rx="4" ry="5" fill="#7a1020" {LINE}/>',
        "flat": f'<path d="M43 {y + 1} h14" {LINE}/>',
        "frown": f'<path d="M42 {y + 5} q8 -8 16 0" fill="none" {LINE}/>',
    }
    return shapes[kind]


def _arms(kind: str, y: float, reach: float, color: str) -> str:
    """Return both arms from the body's sides at height `y`; `reach` is half the body's width."""
    left = {"down": 14, "up": -20, "wave": 14, "point": 2}[kind]
    right = {"down": 14, "up": -20, "wave": -20, "point": 14}[kind]
    style = f'fill="none" stroke="{color}" stroke-width="7" stroke-linecap="round"'
    a, b = 50 - reach, 50 + reach
    return (
        f'<path d="M{a} {y} q-8 {left / 3} -12 {left}" {style}/>'
        f'<path d="M{b} {y} q8 {right / 3} 12 {right}" {style}/>'
    )


def _accessory(kind: str, color: str, top: float, neck: float) -> str:
    """Return what the mascot wears or holds; `top` is the height of its crown, `neck` of its neck."""
    shapes = {
        "none": "",
        "hat": f'<path d="M36 {top + 3} h28 M41 {top + 3} v-11 h18 v11z" fill="{color}" {LINE}/>',
        "scarf": f'<path d="M33 {neck} q17 9 34 0 l1 6 q-8 4 -12 4 l2 11 h-8 l-1 -10 q-10 0 -16 -5z" '
        f'fill="{color}" {LINE}/>',
        "bow": f'<path d="M50 {neck + 3} l-11 -6 v12z l11 -6 v12z" fill="{color}" {LINE}/>',
        "flag": f'<path d="M90 92 V52 h-16 v12 h16" fill="{color}" {LINE}/>',
    }
    return shapes[kind]


def _drop(eyes: str, mouth: str, arms: str, accessory: str, color: str) -> str:
    """Return Pim Puddle: a light blue drop in yellow boots."""
    return (
        _arms(arms, 62, 26, "#3d9be0")
        + f'<path d="M38 84 v8 h-10 q-1 -5 5 -6 v-4z M62 84 v8 h10 q1 -5 -5 -6 v-4z" fill="#f2b705" {LINE}/>'
        + f'<path d="M50 10 C58 26 78 42 78 62 A28 26 0 0 1 22 62 C22 42 42 26 50 10" fill="#56b4f2" {LINE}/>'
        + '<path d="M34 56 q2 -12 10 -20" fill="none" stroke="#c9e9ff" stroke-width="4"/>'
        + _eyes(eyes, 54, 10)
        + _mouth(mouth, 66)
        + _accessory(accessory, color, 16, 76)
    )


def _robot(eyes: str, mouth: str, arms: str, accessory: str, color: str) -> str:
    """Return Bolt Tinker: a green box of a robot with an orange chest and an antenna."""
    return (
        _arms(arms, 66, 22, "#7a8a80")
        + f'<path d="M36 84 v9 h9 v-9 M55 84 v9 h9 v-9" fill="#59675f" {LINE}/>'
        + f'<path d="M50 20 v-9" {LINE}/><circle cx="50" cy="9" r="4.5" fill="#ff8c1a" {LINE}/>'
        + f'<rect x="24" y="20" width="52" height="34" rx="6" fill="#39a866" {LINE}/>'
        + f'<rect x="29" y="56" width="42" height="29" rx="5" fill="#2c8150" {LINE}/>'
        + f'<rect x="38" y="64" width="24" height="14" rx="3" fill="#ff8c1a" {LINE}/>'
        + _eyes(eyes, 33, 12)
        + _mouth(mouth, 42)
        + _accessory(accessory, color, 20, 53)
    )


def _star(eyes: str, mouth: str, arms: str, accessory: str, color: str) -> str:
    """Return Zuzu Spark: a round violet star with five points and a pale belly."""
    points = "50,8 62,32 90,34 70,54 78,84 50,72 22,84 30,54 10,34 38,32"
    style = 'stroke="#8a3fc4" stroke-width="9" stroke-linejoin="round"'
    return (
        _arms(arms, 56, 24, "#6f2ea6")
        + f'<path d="M40 78 v13 M60 78 v13" {LINE}/>'
        + f'<polygon points="{points}" fill="#8a3fc4" {style}/>'
        + '<ellipse cx="50" cy="56" rx="17" ry="15" fill="#e9d4fb"/>'
        + _eyes(eyes, 42, 9)
        + _mouth(mouth, 55)
        + _accessory(accessory, color, 14, 66)
    )


DRAWN: dict[str, Callable[[str, str, str, str, str], str]] = {
    "Bolt Tinker": _robot,
    "Pim Puddle": _drop,
    "Zuzu Spark": _star,
}


@cache
def _trait_vectors(name: str) -> tuple[str, ...]:
    """Return distinct trait vectors of one mascot, in a fixed random order, enough for all splits."""
    rng = random.Random(f"razor-cli mascots {name}")
    found: dict[str, None] = {}
    while len(found) < sum(PER_SPLIT.values()):
        found["/".join(rng.choice(choices) for choices in TRAITS)] = None
    return tuple(found)


def mascot_svg(name: str, vector: str, view: int = 0, spread: float = 0.3) -> str:
    """Return the SVG of one mascot with the varied traits of `vector`, on white."""
    eyes, mouth, arms, accessory, color, lean = vector.split("/")
    angle = {"left": -7, "straight": 0, "right": 7}[lean]
    inner = DRAWN[name](eyes, mouth, arms, accessory, color)
    rng = random.Random(f"{name} {vector} {view}")
    return place(f'<g transform="rotate({angle} 50 90)">{inner}</g>', (100, 100), "#ffffff", rng, spread)


class Mascots:
    """Source of drawn mascots; concepts are their three invented names."""

    name = "mascots"
    domain = "person"

    def concepts(self) -> list[str]:
        """Return the names."""
        return list(MASCOTS)

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return the drawings of one mascot; splits use different trait vectors."""
        start = sum(PER_SPLIT[s] for s in SPLITS[: SPLITS.index(split)])
        vectors = _trait_vectors(concept)[start : start + PER_SPLIT[split]]
        caption = mascot_prompt(concept)
        return [
            Picture(key=f"mascots/{concept}/{v}", concept=concept, domain=self.domain, caption=caption)
            for v in vectors
        ]

    def load(self, pictures: Sequence[Picture], side: int = SIDE, calm: float = 1.0) -> list[Image.Image]:
        """Render drawings, about 4 ms each; `calm` scales how far they are turned, scaled and moved."""
        vectors = [(p, p.key.split("/", 2)[2]) for p in pictures]
        return [rasterize(mascot_svg(p.concept, v, p.view, 0.3 * calm), side) for p, v in vectors]
