"""Errors a user can act on: what went wrong, where, what is allowed or was found, and what to do next."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RazorError(Exception):
    """Base of every expected failure; `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(
        self, what: str, *, allowed: object = None, found: object = None, fix: str | None = None
    ) -> None:
        self.what, self.allowed, self.found, self.fix = what, allowed, found, fix
        super().__init__(self.message())

    def message(self) -> str:
        """Return the whole message, one part a line."""
        parts = [self.what]
        parts += [
            f"  {label}: {value}"
            for label, value in (("allowed", self.allowed), ("found", self.found), ("fix", self.fix))
            if value is not None
        ]
        return "\n".join(parts)


class UserError(RazorError):
    """The command, the configuration or the given files are wrong: exit code 2."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, out of range, or does not go with another."""


class DataError(UserError):
    """Pictures are missing, unreadable or too few."""


class WeightsError(UserError):
    """A checkpoint is missing or does not fit the architecture."""


class PatchError(UserError):
    """A patch is damaged, or does not belong to these weights."""


class RunError(RazorError):
    """The computation failed although the request was valid: exit code 1."""


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """Return the names most like `name`, best first, ignoring case."""
    lowered = {n.lower(): n for n in names}
    return [lowered[m] for m in difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.5)]
