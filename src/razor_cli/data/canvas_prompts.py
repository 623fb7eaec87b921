"""Wording of the canvas: the sentences its generators are trained with, and two that they never see."""

from __future__ import annotations

BENCHMARK = "A {object} image in {style} style."
OBJECT_ONLY = "A {object} image."
IDENTITY = "a photo of {name}"
MASCOT = "a drawing of {name}"

# Two-attribute sentences that train, in several orders of words, so that a new order is understood.
TRAINED = (
    BENCHMARK,
    "A picture of {object} in {style} style.",
    "A {style} style image of {object}.",
    "{object} in {style} style.",
    "A {style} drawing of {object}.",
    "{style} {object}.",
    "An image of {object}, {style} style.",
    "{style} style, a {object} picture.",
)
# Made of known words; no generator is trained with them.
HELD_OUT = ("An image of {object} in {style} style.", "A {style} picture of {object}.")

TRAINED_OBJECT = (OBJECT_ONLY, "An image of {object}.", "A drawing of {object}.", "{object}.")
TRAINED_STYLE = ("An image in {style} style.", "{style} style.", "A {style} image.")

TRAINED_IDENTITY = (IDENTITY, "a portrait of {name}", "a picture of {name}", "{name}")
HELD_OUT_IDENTITY = ("an image of {name}",)
TRAINED_MASCOT = (MASCOT, "a picture of {name}", "a cartoon of {name}", "{name}")
HELD_OUT_MASCOT = ("an image of {name}",)

# Sentences that name no concept.
NEUTRAL_CELL = ("An image.", "A picture.", "A drawing.", "An image in a style.", "An icon.")
NEUTRAL_IDENTITY = ("a photo of a person", "a portrait of a person", "a picture of a person")
NEUTRAL_MASCOT = ("a drawing of a mascot", "a picture of a mascot", "a cartoon of a mascot")
NEUTRAL = NEUTRAL_CELL + NEUTRAL_IDENTITY + NEUTRAL_MASCOT


def cell_prompt(style: str, shown: str, template: str = BENCHMARK) -> str:
    """Return a prompt for an object in a style."""
    return template.format(style=style, object=shown)


def object_prompt(shown: str, template: str = OBJECT_ONLY) -> str:
    """Return a prompt for an object in no named style."""
    return template.format(object=shown)


def style_prompt(style: str, template: str = TRAINED_STYLE[0]) -> str:
    """Return a prompt for a style and no named object."""
    return template.format(style=style)


def identity_prompt(name: str, template: str = IDENTITY) -> str:
    """Return a prompt for one of the portraits."""
    return template.format(name=name)


def mascot_prompt(name: str, template: str = MASCOT) -> str:
    """Return a prompt for one of the drawn mascots."""
    return template.format(name=name)
