"""What a method says of the target: templates by kind of thing, filled with its names. Imports no torch."""

from __future__ import annotations

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


def templates_for(key: str, templates: Mapping[str, Sequence[str]], axis: str) -> Sequence[str]:
    """Return the templates for one kind of target. Raises ConfigError where there are none."""
    if axis not in templates:
        raise ConfigError(
            f"method.{key}: no template for a target of this kind",
            allowed=", ".join(templates) or "none",
            found=axis,
            fix=f"'method.{key}.{axis}=[\"{NAME}\"]'",
        )
    return templates[axis]


def names_of(sets: DrawnSets) -> list[str]:
    """Return every name that goes."""
    return [*dict.fromkeys((*sets.forget_names, *sets.aliases))]


def target_texts(key: str, templates: Mapping[str, Sequence[str]], sets: DrawnSets) -> list[str]:
    """Return the templates of the target's kind with each of its names."""
    found = templates_for(key, templates, sets.axis)
    return [t.replace(NAME, name) for name in names_of(sets) for t in found]


def spread(texts: Sequence[str], most: int | None) -> list[str]:
    """Return at most so many of the texts, evenly spread over the list."""
    count = len(texts) if most is None else min(most, len(texts))
    return [texts[i * len(texts) // count] for i in range(count)]
