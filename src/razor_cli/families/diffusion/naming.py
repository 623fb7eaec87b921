"""How prompts name what goes, and prompts with another word in its place. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence

from razor_cli.data.shots import DrawnSets


def names_of(sets: DrawnSets) -> list[str]:
    """Return every name that goes, as prompts write it."""
    own = sets.spoken or sets.joint or (sets.called or sets.target,)
    return [*dict.fromkeys((*own, *sets.aliases))]


def put(text: str, names: Sequence[str], word: str) -> str:
    """Return a prompt with a word in the place of every name that goes; a name within a word stays."""
    for name in sorted(names, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", lambda _: word, text)
    return text
