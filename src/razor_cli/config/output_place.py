"""Where results lie, however it is said: `output_dir=DIR`, `--output-dir DIR`, or $RAZOR_OUTPUT_DIR."""

from __future__ import annotations

import os
from collections.abc import Sequence

VARIABLE = "RAZOR_OUTPUT_DIR"  # counts where the command line says nothing
KEY, OPTION = "output_dir=", "--output-dir"
TAKING_IT = ("list", "show", "judge", "query", "tables", "propositions", "run-again", "data clean")
TAKING_WORDS = ("doctor",)


def as_settings(words: Sequence[str], option: str | None) -> list[str]:
    """Return the words of `razor-run` with the one that says where results lie, if anything does."""
    if option is None and not any(word.lstrip("+").startswith(KEY) for word in words):
        option = os.environ.get(VARIABLE) or None
    if option is None:
        return list(words)
    quoted = f'"{option}"' if "," in option else option  # which separates values in a sweep or a grid
    return [*words, f"{KEY}{quoted}"]


def as_options(arguments: Sequence[str]) -> list[str]:
    """Return the arguments of `razor` as its command takes them: an option, or a word."""
    named = [a for a in arguments if not a.startswith("-")]
    command = next((c for c in (" ".join(named[:2]), *named[:1]) if c in (*TAKING_IT, *TAKING_WORDS)), None)
    if command is None:
        return list(arguments)
    found, said = _split(arguments)
    if said is None and "--help" not in arguments:
        said = os.environ.get(VARIABLE) or None
    if said is None:
        return list(arguments)
    return [*found, f"{KEY}{said}"] if command in TAKING_WORDS else [*found, OPTION, said]


def _split(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """Return the arguments without what says where results lie, and what the last of it says."""
    found, said, waiting = [], None, False
    for argument in arguments:
        if waiting:
            said, waiting = argument, False
        elif argument == OPTION:
            waiting = True
        elif argument.startswith((KEY, f"{OPTION}=")):
            said = argument.partition("=")[2]
        else:
            found.append(argument)
    return ([*found, OPTION] if waiting else found), said
