"""Code from outside the package: `allow_code=PACKAGE` on the command line lets `_target_` name its classes.

A yaml file cannot open this door, whoever wrote it: what it runs is then in nobody's hands but its author's.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from razor_cli.errors import ConfigError, Problem

KEY = "allow_code"


def word(argument: str) -> str:
    """Return the word of a command line as a list: `allow_code=mine` for `allow_code=[mine]`."""
    key, equals, value = argument.partition("=")
    is_one = key.lstrip("+") == KEY and equals and not value.startswith("[")
    return f"{key}=[{value}]" if is_one else argument


def allowed(overrides: Sequence[str]) -> frozenset[str]:
    """Return the packages that the overrides of one run allow."""
    said = [o.lstrip("+").removeprefix(f"{KEY}=") for o in overrides if o.lstrip("+").startswith(f"{KEY}=")]
    names = [n.strip(" '\"") for value in said for n in value.strip("[]").split(",")]
    return frozenset(n for n in names if n)


def problems(named: object, allowed: Collection[str]) -> list[Problem]:
    """Return what is wrong with the packages that a configuration names: said by a file, or not there. What
    is no list of names is refused by its type.
    """
    found = []
    named = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    for name in sorted(set(named) - set(allowed)):
        found.append(
            Problem(
                what=f"{KEY} opens the door to code outside the package, on the command line only",
                found=f"{name}, in a file",
                fix=f"add {KEY}={name} to the command, if you trust that code",
            )
        )
    for name in sorted(set(named) & set(allowed)):
        try:
            importable(name)
        except ConfigError as error:
            found.append(Problem.of(error))
    return found


def importable(package: str) -> None:
    """Make a package importable: an installed one, or one in the current folder. Raises ConfigError."""
    if importlib.util.find_spec(package) is None:
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.append(here)  # behind everything installed, so that no name is taken from it
            importlib.invalidate_caches()
    if not package.isidentifier() or importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"{KEY}={package}: there is no such package",
            allowed="the name of an installed package or module, or of one in the current folder",
            fix="run from the folder that holds it, or install it",
        )
