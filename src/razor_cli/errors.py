"""Errors a user can act on: what went wrong, where, what is allowed or was found, and what to do next."""

from __future__ import annotations

import difflib
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterable
from dataclasses import dataclass

from razor_cli.printing import say


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
        parts = [_indented(self.what)]
        parts += [
            f"  {label}: {_indented(str(value))}"
            for label, value in (("allowed", self.allowed), ("found", self.found), ("fix", self.fix))
            if value is not None
        ]
        return "\n".join(parts)


def _indented(text: str) -> str:
    """Return text in which no line but the first, or one of a numbered list, begins like a part of a message:
    a line end may come from the name of a file.
    """
    return re.sub(r"\n(?=\S)(?!\d+\. )", "\n    ", text)


class UserError(RazorError):
    """The command, the configuration or the given files are wrong: exit code 2."""

    exit_code = 2


class ConfigError(UserError):
    """A setting is unknown, of the wrong type, out of range, or does not go with another."""


class UnknownTargetError(ConfigError):
    """The model as it is does not know the concept that should go."""


class DataError(UserError):
    """Pictures are missing, unreadable or too few."""


class WeightsError(UserError):
    """A checkpoint is missing or does not fit the architecture."""


class PatchError(UserError):
    """A patch is damaged, or does not belong to these weights."""


class RunError(RazorError):
    """The computation failed although the request was valid: exit code 1."""


ALLOWED = re.compile(r"( +)allowed: ")
SHOWN = 200  # characters of a value in a message


def shortened(text: str, most: int = SHOWN) -> str:
    """Return a text that a message has room for."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text)} characters)"


def nearest(name: str, names: Iterable[str], count: int = 3, like: float = 0.5) -> list[str]:
    """Return the names most like `name`, best first, ignoring case; `like` is the least share of letters."""
    lowered = {n.lower(): n for n in names}
    return [lowered[m] for m in difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=like)]


def headline(error: BaseException) -> str:
    """Return the first line of an error, with its class."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0] if text else 'no message'}"


def report(error: BaseException, *, debug: bool, how: str = "debug=true") -> int:
    """Print an error for a person and return the exit code: 2 for what they can mend, 1 for a failure."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, RazorError):
        say(_wrapped(f"{type(error).__name__}: {error}"), file=sys.stderr)
        return error.exit_code
    say(f"{headline(error)}\n  fix: {how} shows the traceback", file=sys.stderr)
    return 1


def _wrapped(message: str) -> str:
    """Return a message in which long lists of what is allowed stand below each other on a terminal; commands
    stay in one line, to be copied.
    """
    if not sys.stderr.isatty():
        return message
    width, lines = shutil.get_terminal_size().columns, []
    for line in message.splitlines():
        if (found := ALLOWED.match(line)) and len(line) > width:
            inner = " " * (len(found[1]) + 2)
            lines += textwrap.wrap(
                line, width, subsequent_indent=inner, break_long_words=False, break_on_hyphens=False
            )
        else:
            lines.append(line)
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One refused setting: what is wrong (it names the full key), what is allowed, what was found, and the
    next step.
    """

    what: str
    allowed: object = None
    found: object = None
    fix: str | None = None

    def error(self) -> ConfigError:
        """Return this problem as an error of its own."""
        return ConfigError(self.what, allowed=self.allowed, found=self.found, fix=self.fix)

    @classmethod
    def of(cls, error: Exception, key: str = "") -> Problem:
        """Return the problem that a constructor complains about; `key` is put before a complaint that does
        not name it.
        """
        if isinstance(error, ConfigError):
            return cls(what=_named(error.what, key), allowed=error.allowed, found=error.found, fix=error.fix)
        return cls(what=_named(str(error), key))


def _named(what: str, key: str) -> str:
    return what if key in what else f"{key}: {what}"
