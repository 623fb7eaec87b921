"""Make what a person types on the command line safe for Hydra's grammar.

`target=Beyoncé` and `target="Conan O'Brien"` are no valid Hydra overrides, so the values of plain text
settings are quoted before Hydra sees them: what is typed is the value, quotes included. With `-m`, and in a
grid, a comma separates values; inside a name it is kept by quotes within the value, which are then no part of
it: `-m 'target="Downey, Robert",Taylor Swift'`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Collection, Sequence

OVERRIDE = re.compile(r"(?P<plus>\+{0,2})(?P<key>[A-Za-z_][\w.]*)=(?P<value>.*)", re.DOTALL)
QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*\"""", re.DOTALL)
LISTED = re.compile(r"\[[^\[\]]*\]")
NESTED = re.compile(r"\[(.*,)?\s*[\[{].*[\]}]\s*\]", re.DOTALL)
BARE = ("null", "'null'", '"null"')  # of an optional text: no value, and the word itself
SWEEP_FUNCTION = re.compile(r"(choice|shuffle|sort|tag)\(.*\)", re.DOTALL)


def quote(text: str) -> str:
    r"""Return `text` as a quoted value that Hydra reads back as exactly `text`.

    A backslash needs another one only before a quote or the end; `${` is escaped so that it is no
    interpolation.
    """
    literal = re.sub(r"(\\*)\$\{", lambda m: m[1] * 2 + r"\${", text)
    escaped = re.sub(r"(\\*)'", lambda m: m[1] * 2 + r"\'", literal)
    trailing = len(escaped) - len(escaped.rstrip("\\"))
    return f"'{escaped}{chr(92) * trailing}'"


def is_quoted(value: str) -> bool:
    """Tell whether the whole of `value` is one quoted value."""
    return QUOTED.fullmatch(value) is not None


def split(text: str, *, listed: bool = False) -> list[str]:
    """Split at commas that are not inside an element in quotes, or with `listed` in brackets; blanks around
    elements are dropped.
    """
    elements, at = [], 0
    while at <= len(text):
        start = at + len(text[at:]) - len(text[at:].lstrip())
        held = QUOTED.match(text, start) or (LISTED.match(text, start) if listed else None)
        is_whole = held is not None and re.match(r"\s*(,|$)", text[held.end() :])
        end = text.find(",", held.end() if held and is_whole else at)
        end = len(text) if end < 0 else end
        elements.append(text[at:end].strip())
        at = end + 1
    return elements


def unquoted(text: str) -> str:
    """Return what a quoted value stands for: `quote` undone."""
    mark, inner = text[0], text[1:-1]
    inner = re.sub(rf"(\\*)\\{mark}", lambda m: "\\" * (len(m[1]) // 2) + mark, inner)
    trailing = len(inner) - len(inner.rstrip("\\"))
    inner = inner[: len(inner) - trailing + trailing // 2] if trailing else inner
    return re.sub(r"(\\*)\\\$\{", lambda m: "\\" * (len(m[1]) // 2) + "${", inner)


def quote_element(text: str, optional: bool = False) -> str:
    """Quote one element of several unless it is quoted already; an optional setting keeps a bare `null`."""
    return text if is_quoted(text) or (optional and text == "null") else quote(text)


def quote_text(value: str, *, multirun: bool, optional: bool) -> str:
    """Quote the value of a text setting as it was typed; with `multirun` each of its comma-separated
    points.
    """
    if not multirun:
        return value if optional and value in BARE else quote(value)
    if SWEEP_FUNCTION.fullmatch(value):
        return value
    return ",".join(quote_element(e, optional) for e in split(value, listed=True))


def quote_list(value: str, *, multirun: bool) -> str:
    """Quote the elements of `[a, b]`; with `multirun` also of `[a],[b]`. Anything else is one text; lists in
    lists stay for Hydra to read, so that the check refuses them.
    """
    if NESTED.fullmatch(value):
        return value
    if not (value.startswith("[") and value.endswith("]")):
        return value if value == "null" else quote_element(value)
    points = re.split(r"\]\s*,\s*\[", value[1:-1]) if multirun else [value[1:-1]]
    return ",".join("[" + ",".join(quote_element(e) for e in split(p) if e) + "]" for p in points)


def quote_override(override: str, kinds: Callable[[str], Collection[str]], *, multirun: bool) -> str:
    """Return one command-line argument with its value quoted where its key is a text setting.

    `kinds(key)` says what the setting takes: any of `text`, `list`, `null` and `map`; empty for all other
    settings. What stands in braces is a map where the setting takes one, and is left for Hydra to read.
    """
    match = OVERRIDE.fullmatch(override)
    taken = kinds(match["key"]) if match else ()
    if match is None or not taken:
        return override
    value = match["value"]
    if "map" in taken and value.startswith("{") and value.endswith("}"):
        return override
    if "list" in taken:
        quoted = quote_list(value, multirun=multirun)
    else:
        quoted = quote_text(value, multirun=multirun, optional="null" in taken)
    return f"{match['plus']}{match['key']}={quoted}"


def as_typed(override: str) -> str:
    """Return an override as a person would type it: without `++`, and without quotes where they are put back
    on reading.
    """
    text = override.removeprefix("++")
    key, _, value = text.partition("=")
    optional = key != "target"  # which may be called null, and is never it
    if not is_quoted(value) or (optional and value in BARE):
        return text
    return f"{key}={unquoted(value)}"


def shell_command(overrides: Sequence[str], program: str = "razor-run") -> str:
    """Return the command that runs one job again, ready to be pasted into a shell."""
    return shlex.join([program, *map(as_typed, overrides)])


def is_on(key: str, overrides: Sequence[str]) -> bool:
    """Tell whether a command line switches a setting on; the last word counts."""
    said = [o.lstrip("+").lower() for o in overrides if o.lstrip("+").startswith(f"{key}=")]
    return said[-1:] == [f"{key}=true"]
