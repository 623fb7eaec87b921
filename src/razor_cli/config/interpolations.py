"""What `${...}` may do in a configuration: name another setting, and nothing else.

OmegaConf's functions (`${oc.env:NAME}` and its like) would carry what the environment holds into records and
messages; the shell does the same in the open. And settings that name each other may not grow without end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from razor_cli.errors import Problem

OPENED = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
NAMED = re.compile(r"(?<!\\)(?:\\\\)*\$\{\s*(?P<dots>\.*)(?P<path>[\w\-/.\[\]]*)\s*\}")
LONGEST = 10**6  # characters and values, all that is named put in

Path = tuple[str, ...]


def problems(content: Any, file: str = "") -> list[Problem]:
    """Return what is wrong with the interpolations of plain values, each with its key; `file` is where they
    stand.
    """
    found = []
    for path, text in _texts(content, ()):
        if len(OPENED.findall(text)) != len(NAMED.findall(text)):
            key = ".".join(path)
            place = ": ".join(filter(None, (file, key))) or "a key"
            found.append(
                Problem(
                    what=f"{place}: functions in ${{...}} are not run",
                    allowed="${KEY}, the value of another setting",
                    found=text[:200],
                    fix=f'{key or "KEY"}="$NAME" on the command line lets the shell put in its variables',
                )
            )
    return found


def too_long(content: Mapping[Any, Any]) -> list[Problem]:
    """Return the problem of settings that name each other until they are longer than anything needed, or in a
    circle.
    """
    lengths = _Lengths(content)
    try:
        total = lengths.of(())
    except RecursionError:
        return [Problem(what="configuration: settings name each other in a circle, or too deep")]
    if lengths.circle:
        return [Problem(what=f"{'.'.join(lengths.circle)}: it names itself", fix="give it a value")]
    return (
        [Problem(what="configuration: with what ${...} names it is too long", allowed=f"{LONGEST:,} values")]
        if total > LONGEST
        else []
    )


def _texts(node: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """Yield every text of nested values, keys among them, with its place."""
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, Mapping):
        for key, value in node.items():
            yield from _texts(key, path) if isinstance(key, str) else ()
            yield from _texts(value, (*path, str(key)))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _texts(value, (*path, str(i)))


@dataclass
class _Lengths:
    """How long each value is with all that it names put in."""

    content: Any
    known: dict[Path, int] = field(default_factory=dict)
    within: list[Path] = field(default_factory=list)
    circle: Path = ()

    def of(self, path: Path) -> int:
        """Return the length of the value at `path`."""
        if path not in self.known:
            if path in self.within:
                self.circle = self.circle or path
                return 0
            self.within.append(path)
            self.known[path] = self._counted(path)
            self.within.pop()
        return self.known[path]

    def _counted(self, path: Path) -> int:
        node = self._at(path)
        if isinstance(node, Mapping):
            return 1 + sum(self.of((*path, str(k))) for k in node)
        if isinstance(node, list | tuple):
            return 1 + sum(self.of((*path, str(i))) for i in range(len(node)))
        if not isinstance(node, str):
            return 1
        return len(node) + sum(self.of(self._named(path, m)) for m in NAMED.finditer(node))

    def _named(self, path: Path, match: re.Match[str]) -> Path:
        """Return the place that an interpolation at `path` names: one dot is the group that it stands in."""
        words = re.sub(r"\[([^\]]*)\]", r".\1", match["path"])
        base = path[: max(0, len(path) - len(match["dots"]))] if match["dots"] else ()
        return (*base, *(w for w in words.split(".") if w))

    def _at(self, path: Path) -> Any:
        node = self.content
        for name in path:
            if isinstance(node, Mapping):
                node = next((v for k, v in node.items() if str(k) == name), None)
            elif isinstance(node, list | tuple) and name.isdigit() and int(name) < len(node):
                node = node[int(name)]
            else:
                return None
        return node
