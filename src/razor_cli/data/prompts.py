"""Prompt templates of every domain: training captions, zero-shot prompts, and the generic retain prompt."""

from __future__ import annotations

from dataclasses import dataclass

from razor_cli.data.canvas_prompts import NEUTRAL_CELL


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """The wording one domain of pictures uses.

    `captions` are the sentences a picture may be paired with, `zero_shot` the template a classifier is built
    from (and the forget prompt of M1), `generic` the sentence that names no concept (q_retain of M1 and M4,
    switch A19).
    """

    captions: tuple[str, ...]
    zero_shot: tuple[str, ...]
    generic: str

    def caption(self, concept: str, index: int) -> str:
        """Return one caption of a concept; `index` walks through the templates."""
        return self.captions[index % len(self.captions)].format(concept)


def article(name: str) -> str:
    """Return `name` with its indefinite article, by spelling: `an owl`, `a tulip`."""
    return ("an " if name[:1].lower() in "aeiou" and not name.lower().startswith("uni") else "a ") + name


STYLES = ("An image in {} style.", "{} style.", "A {} image.")  # as the canvas' models were trained with
DOMAINS: dict[str, Prompts] = {
    "person": Prompts(
        captions=("a photo of {}.", "a portrait of {}.", "{}.", "a picture of {}."),
        zero_shot=("a photo of {}.",),
        generic="a photo of a person.",
    ),
    "emoji": Prompts(
        captions=("an emoji of {}.", "a drawing of {}.", "an icon of {}.", "a small picture of {}."),
        zero_shot=("an emoji of {}.",),
        generic="an emoji of an object.",
    ),
    "object": Prompts(
        captions=("a photo of {}.", "a picture of {}.", "a photograph of {}.", "{}."),
        zero_shot=("a photo of {}.",),
        generic="a photo of an object.",
    ),
    "style": Prompts(
        captions=STYLES,
        zero_shot=STYLES[:1],
        generic=NEUTRAL_CELL[0],
    ),
}
NAMED = ("person", "style")  # domains whose concepts are names, which take no article


def spoken(concept: str, domain: str) -> str:
    """Return the words a template's slot takes: names stay, things get an article."""
    return concept if domain in NAMED else article(concept)
