"""Several concepts that go in one run, as `target` names them: "[Taylor Swift, Elon Musk]"."""

from __future__ import annotations

from razor_cli.config.overrides import is_quoted, split, unquoted
from razor_cli.errors import ConfigError

EXAMPLE = 'target="[Taylor Swift, Elon Musk]"'


def targets_of(target: str) -> tuple[str, ...]:
    """Return the concepts that go: the names of a list in brackets, or the one that there is. A name with a
    comma stands in quotes within the list.
    """
    text = target.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return (target,)
    return tuple(unquoted(name) if is_quoted(name) else name for name in split(text[1:-1]))


def check_targets(target: str, *, sequence: bool, compose: bool) -> None:
    """Raise ConfigError for a list that names nothing or something twice, and for orders of a single
    concept.
    """
    names = targets_of(target)
    if not all(n.strip() for n in names):
        raise ConfigError("target: a name of the list is empty", allowed=EXAMPLE, found=target)
    known = [" ".join(n.casefold().split()) for n in names]
    if twice := [n for n, key in zip(names, known, strict=True) if known.count(key) > 1]:
        raise ConfigError("target: the list names a concept twice", found=twice[0], allowed="each once")
    asked = [key for key, on in (("sequence", sequence), ("compose", compose)) if on]
    if len(asked) == 2:
        raise ConfigError(
            "sequence and compose exclude each other: an edit begins from the one before, or from the "
            "unedited model",
            allowed="one of them, or neither for one edit of all together",
        )
    if asked and len(names) == 1:
        raise ConfigError(
            f"{asked[0]}=true needs several concepts, and target names one",
            allowed="a list of two or more",
            found=target,
            fix=EXAMPLE,
        )
