"""Yaml files as plain values: what is a bomb, recursive, tagged or no yaml ends in one line, before it grows.

A file is looked through event by event first. Aliases count as often as they are repeated, so that a file of
a few lines which stands for a billion values is refused by its count.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from razor_cli.errors import ConfigError

MOST_BYTES = 2**18
MOST_VALUES = 10_000  # aliases counted as often as they stand for something
DEEPEST = 40
KEPT = 512  # files whose content is remembered: a list of all presets reads each many times
TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}
PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(file: Path) -> Any:
    """Return what a yaml file says, made of dicts, lists and scalars. Raises ConfigError."""
    return deepcopy(_values(read(file), file))


@lru_cache(KEPT)
def _values(text: str, file: Path) -> Any:
    try:
        return yaml.load(text, Loader=PARSER)
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise _no_yaml(file, error) from error


def read(file: Path) -> str:
    """Return the text of a yaml file that is safe to build. Raises ConfigError."""
    try:
        size = file.stat().st_size
        content = file.read_bytes() if file.is_file() and size <= MOST_BYTES else None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read", found=error.strerror, fix="give a yaml file") from error
    if content is None:
        raise ConfigError(
            f"{file} is no configuration",
            allowed=f"a yaml file of at most {MOST_BYTES // 2**10} KB",
            found=f"{size // 2**10} KB" if file.is_file() else "no file",
        )
    return _safe(content, file)


@lru_cache(KEPT)
def _safe(content: bytes, file: Path) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8", found=error.reason, fix="save it as UTF-8") from error
    look_through(text, file)
    return text


def look_through(text: str, file: Path) -> None:
    """Raise ConfigError for text that is no yaml, or whose values would be too many, too deep or not
    plain.
    """
    count = _Count()
    try:
        for event in _events(text):
            if wrong := count.refuses(event):
                line = event.start_mark.line + 1
                raise ConfigError(
                    f"{file}, line {line}: {wrong}",
                    allowed=f"plain values, at most {MOST_VALUES:,} of them and {DEEPEST} deep",
                )
    except (yaml.YAMLError, ValueError) as error:
        raise _no_yaml(file, error) from error


def _events(text: str) -> Iterator[Any]:
    yield from yaml.parse(text, Loader=PARSER)


def _no_yaml(file: Path, error: Exception) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    where = f", line {mark.line + 1}" if mark else ""
    reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return ConfigError(f"{file}{where}: not yaml", found=reason, fix="write KEY: VALUE, one a line")


@dataclass
class _Count:
    """How many values were seen so far, and how many each anchor stands for."""

    values: int = 0
    open: list[tuple[str | None, int]] = field(default_factory=list)  # not closed yet: anchor, count before
    anchors: dict[str, int] = field(default_factory=dict)

    def refuses(self, event: Any) -> str:
        """Count one event and return what is wrong with it, or nothing."""
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = self.open.pop()
            self._remember(anchor, self.values - before)
            return ""
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in self.open}:
                return f"*{event.anchor} stands for itself"
            self.values += self.anchors.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            tag = getattr(event, "tag", None)
            if tag not in (None, "!", *TAGS):
                return f"the tag {tag} is not understood"
            self.values += 1
            if isinstance(event, yaml.CollectionStartEvent):
                self.open.append((event.anchor, self.values - 1))
            else:
                self._remember(event.anchor, 1)
        if len(self.open) > DEEPEST:
            return f"values lie more than {DEEPEST} deep"
        return f"it stands for more than {MOST_VALUES:,} values" if self.values > MOST_VALUES else ""

    def _remember(self, anchor: str | None, count: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = count
