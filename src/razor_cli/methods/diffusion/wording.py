"""What a method says of the target: templates by kind of thing, filled with its names. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from razor_cli.errors import ConfigError

if TYPE_CHECKING:
    from razor_cli.data.shots import DrawnSets

NAME = "{}"


def check_templates(key: str, templates: Mapping[str, Sequence[str]]) -> None:
    """Raise ConfigError for a template without a place for the name, or for a kind without a template."""
    for kind, texts in templates.items():
        wrong = [t for t in texts if NAME not in t]
        if wrong or not texts:
            raise ConfigError(
                f"method.{key}.{kind}: a template has no place for the name",
                allowed=f"texts with {NAME} in them, such as 'An image in {NAME} style.'",
                found=wrong[0] if wrong else "none",
            )


def names_of(sets: DrawnSets) -> list[str]:
    """Return every name that goes, as prompts write it."""
    own = sets.spoken or sets.joint or (sets.called or sets.target,)
    return [*dict.fromkeys((*own, *sets.aliases))]


def texts_of(key: str, templates: Mapping[str, Sequence[str]], sets: DrawnSets) -> list[str]:
    """Return prompts that name the target: the templates of its kind with each of its names, or those of the
    sets where no templates are given. Raises ConfigError for a kind without one.
    """
    if not templates:
        return list(sets.target_prompts)
    if sets.axis not in templates:
        raise ConfigError(
            f"method.{key}: no template for a target of this kind",
            allowed=", ".join(templates),
            found=sets.axis,
            fix=f"'method.{key}.{sets.axis}=[\"{NAME}\"]'",
        )
    return [t.replace(NAME, name) for name in names_of(sets) for t in templates[sets.axis]]


def paired_texts(
    key: str, templates: Mapping[str, Sequence[str]], anchor: str | None, sets: DrawnSets
) -> tuple[list[str], list[str]]:
    """Return prompts that name the target and, one for one, what stands in their place: the anchor in the
    same words, or the prompt that the sets have for each of theirs, or for all.
    """
    own = texts_of(key, templates, sets)
    if anchor is not None:
        return own, [put(text, names_of(sets), anchor) for text in own]
    return own, [sets.anchor] * len(own) if templates else list(sets.anchors)


def put(text: str, names: Sequence[str], word: str) -> str:
    """Return a prompt with a word in the place of every name that goes; a name within a word stays."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _: word, text)
    return text


def spread(texts: Sequence[str], most: int | None) -> list[str]:
    """Return at most so many of the texts, evenly spread over the list."""
    count = len(texts) if most is None else min(most, len(texts))
    return [texts[i * len(texts) // count] for i in range(count)]
