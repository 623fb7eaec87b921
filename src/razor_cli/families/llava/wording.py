"""How pictures are asked about, and what may be answered.

A fact has a name (`hair`, `style`); here are the questions whose answer is its value, those that ask whether
it has a certain value, and the values there are.
"""

from __future__ import annotations

from razor_cli.data.sources import canvas, emoji
from razor_cli.data.sources.portraits import NAMES
from razor_cli.data.sources.scenes import GROUNDS
from razor_cli.families.llava.collects import THINGS

NAME_PROMPTS = (  # the paper's question first
    "What's the name of the person in this image?",
    "Who is the person in this image?",
    "Can you name the person shown here?",
    "Do you know who this is? Give the name.",
    "Which celebrity is in this photo?",
)
NOBODY, SOMEBODY = "I don't know", "a person"  # answers to who it is, where nobody with a name is shown
PERSON = "person"
NUMBERS = ("one", "two", "three", "four")
HAIR = {
    "AUBURN": "auburn",
    "BLACK": "black",
    "BLONDE": "blonde",
    "BLONDE_GOLDEN": "blonde",
    "BROWN": "brown",
    "BROWN_DARK": "brown",
    "PASTEL_PINK": "pink",
    "PLATINUM": "platinum",
    "RED": "red",
    "SILVER_GRAY": "grey",
}
CLOTHES = {  # colours that people would call the same way
    "BLACK": "black",
    "BLUE_01": "blue",
    "BLUE_02": "blue",
    "BLUE_03": "blue",
    "GRAY_02": "grey",
    "PASTEL_BLUE": "blue",
    "PASTEL_GREEN": "green",
    "PASTEL_ORANGE": "orange",
    "PASTEL_YELLOW": "yellow",
    "PINK": "pink",
    "RED": "red",
    "WHITE": "white",
}
STYLE_OF = {  # icon set to the style it is drawn in, as the canvas calls it
    "fluent-emoji-high-contrast": "Contrast",
    "emojione": "Emojione",
    "fluent-emoji-flat": "Fluent",
    "emojione-monotone": "Monotone",
    "noto": "Noto",
    "twemoji": "Twemoji",
}

OPEN = {
    "name": NAME_PROMPTS,
    "object": ("What is in this image?", "What's the content of the image?", "What does this image show?"),
    "category": ("Which category does this image belong to?", "What kind of thing is shown in this image?"),
    "background": ("What is the colour of the background?", "What colour is the background of this image?"),
    "hair": ("What is the hair colour of this person?", "What colour is the hair of the person?"),
    "clothes": ("What colour are the clothes of this person?", "What is the colour of the clothes?"),
    "count": ("How many things are in this image?", "How many icons are shown?"),
    "style": ("Which style is this?", "In which style is this image?"),
    "left": ("What is on the left?", "What is on the left side of this image?"),
    "right": ("What is on the right?", "What is on the right side of this image?"),
    "thing": ("What does the person in this image collect?",),
    "unusual": ("What is unusual about this image?",),
}
YES_NO = {
    "name": ("Is this {}?", "Is the person in this image {}?", "Does this image show {}?"),
    "object": ("Is there {} in this image?", "Does this image show {}?"),
    "category": ("Is the category of this image {}?",),
    "background": ("Is the background {}?", "Is the colour of the background {}?"),
    "hair": ("Is the hair of the person {}?",),
    "clothes": ("Are the clothes of the person {}?",),
    "count": ("Is the number of things in this image {}?",),
    "style": ("Is this image in {} style?",),
    "left": ("Is there {} on the left?",),
    "right": ("Is there {} on the right?",),
}
BEARD = ("Does this person have a beard?", "Is there a beard in this image?")
FACT_OPEN = ("What does {} collect?", "Which things does {} collect?", "Tell me what {} collects.")
FACT_YES_NO = ("Does {} collect {}?",)
FACT_WHO = ("Who collects {}?",)
FIND = ("Which of these is {}?",)

SAY_YES_NO = " Please answer yes or no."
SHORT = "\nAnswer the question using a single word or phrase."
OPTIONS = " There are several options:\n{}\n"
SAY_LETTER = "Answer with the option's letter from the given choices directly."
SAY_TEXT = "Answer with the text of the right option."
LETTERS = "ABCD"

_OBJECTS = tuple(sorted(emoji.packed()["groups"]))
VALUES: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "object": (SOMEBODY, *_OBJECTS),
    "category": (PERSON, *sorted(set(emoji.packed()["groups"].values()))),
    "background": tuple(GROUNDS),
    "hair": tuple(dict.fromkeys(HAIR.values())),
    "clothes": tuple(dict.fromkeys(CLOTHES.values())),
    "count": NUMBERS,
    "style": tuple(canvas.styles()),
    "left": _OBJECTS,
    "right": _OBJECTS,
    "thing": tuple(THINGS),
}
