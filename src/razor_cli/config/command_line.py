"""Read the words of a command line: quote text, check group choices, and leave the rest to our own check."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from razor_cli.config import family, outside, renamed
from razor_cli.config.conf_files import file_of, groups, roots_of, settings_of, targets
from razor_cli.config.overrides import quote, quote_override
from razor_cli.config.schema import hints, locate
from razor_cli.config.settings import PLACES, Options, Scenario
from razor_cli.errors import ConfigError, Problem, nearest


@dataclass(frozen=True, kw_only=True)
class Request:
    """A command line, read: overrides that Hydra understands, the problems found so far, the groups they
    concern, and the folders that options come from.
    """

    overrides: list[str]
    problems: list[Problem]
    skip: frozenset[str]
    roots: tuple[Path, ...] = ()
    allowed: frozenset[str] = frozenset()  # packages from outside whose classes may be named


def text_kinds(roots: Sequence[Path], allowed: Collection[str] = ()) -> Callable[[str], Collection[str]]:
    """Return what tells whether a key takes text (`text`, `list`, `null`), read from the schemas' field
    types.
    """
    own = {"": (Options,), "scenario": (Scenario,)}

    @cache
    def schemas(group: str) -> tuple[type, ...]:
        if group in own or group not in PLACES:
            return own.get(group, ())
        found = []
        for target in sorted(targets(roots, group)):
            try:
                found.append(locate(target, PLACES[group], group, allowed))
            except ConfigError:
                continue  # the check reports it if it is chosen
        return tuple(found)

    def kinds(key: str) -> Collection[str]:
        group, _, name = key.rpartition(".")
        found = {
            kind for cls in schemas(group) if name in (types := hints(cls)) for kind in _text(types[name])
        }
        return found if found & {"text", "list"} else ()

    return kinds


def _text(kind: Any) -> set[str]:
    if kind in (str, Path):
        return {"text"}
    if get_origin(kind) is list:
        return {"list"} if get_args(kind)[0] is str else set()
    if kind is NoneType:
        return {"null"}
    arms = get_args(kind) if not isinstance(kind, type) and get_origin(kind) is not dict else ()
    return {found for arm in arms for found in _text(arm)}


def read(arguments: Sequence[str], *, multirun: bool = False, extra: str | None = None) -> Request:
    """Quote text, check group choices and make every plain key acceptable to Hydra, so that our own check
    judges it.

    `extra` is a folder of the user's with more options, laid out like `conf/`.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    roots, allowed = roots_of(extra), outside.allowed([outside.word(a) for a in arguments])
    parser, available, kinds = OverridesParser.create(), groups(roots), text_kinds(roots, allowed)
    kept: list[str] = []
    problems: list[Problem] = []
    skip: set[str] = set()
    for argument in arguments:
        text = quote_override(renamed.word(outside.word(argument), available), kinds, multirun=multirun)
        try:
            override = parser.parse_override(text)
        except HydraException as error:
            problems.append(_unreadable(argument, str(error)))
            continue
        key = override.key_or_group
        if family.is_family(key):
            problems.append(family.not_chosen(argument, roots))
        elif key.startswith("hydra") or override.package is not None or override.is_delete():
            kept.append(text)
        elif override.is_sweep_override() and not multirun:
            problems.append(
                Problem(
                    what=f"{argument}: several values are a sweep",
                    fix="add -m to run each of them, or quote the comma",
                )
            )
            skip.add(key)
        elif key in available and not isinstance(
            None if override.is_sweep_override() else override.value(), dict
        ):
            wrong = _wrong_choices(override, key, available[key])
            problems += wrong
            skip |= {key} if wrong else set()
            kept += [] if wrong else [text.lstrip("+")]
        else:
            kept.append("++" + text.lstrip("+"))
    kept = [t for t in kept if t.lstrip("+").split("=")[0].split(".")[0] not in skip]
    kept += [f"hydra.searchpath=[{quote(_search_path(roots[1]))}]"] if extra else []
    return Request(
        overrides=kept, problems=problems, skip=frozenset(skip), roots=tuple(roots), allowed=allowed
    )


def _search_path(folder: Path) -> str:
    from razor_cli.config.own_files import search_path

    return search_path(folder)


def values_of(override: str) -> tuple[str, list[Any], bool]:
    """Return the key of an override that `read` made, its values, and whether they are a sweep's."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    parser = OverridesParser.create()
    found = parser.parse_override(override)
    key = found.key_or_group
    if not found.is_sweep_override():
        return key, [found.value()], False
    return key, [parser.parse_override(f"{key}={e}").value() for e in found.sweep_string_iterator()], True


def _unreadable(argument: str, reason: str) -> Problem:
    first = reason.strip().splitlines()[0]
    key, equals, _ = argument.partition("=")
    if not equals:
        fix = f"write {argument}=VALUE" if argument.isidentifier() else "write KEY=VALUE"
        return Problem(
            what=f"{argument}: not a setting", allowed="KEY=VALUE, GROUP=NAME", found=argument, fix=fix
        )
    fix = f"""put quotes inside the shell's: '{key}="..."'"""
    return Problem(what=f"{key}: the value cannot be read", found=first, fix=fix)


def _wrong_choices(override: Any, group: str, options: Sequence[str]) -> list[Problem]:
    """Return a problem for every chosen option that does not exist."""
    chosen = (
        list(override.sweep_string_iterator())
        if override.is_sweep_override()
        else [override.get_value_element_as_str()]
    )
    problems = []
    for name in (c.strip("'\"") for c in chosen):
        if name not in options and not _stands_alone(group, name):
            close = nearest(name, options)
            fix = (
                f"did you mean {' or '.join(f'{group}={c}' for c in close)}?"
                if close
                else f"{group}={options[0]}"
            )
            problems.append(
                Problem(
                    what=f"{group}={name}: there is no such {group}",
                    allowed=", ".join(options),
                    found=name,
                    fix=fix,
                )
            )
    return problems


def _stands_alone(group: str, name: str) -> bool:
    """Tell whether a name is a family's file of a group, `razor/<family>`, and says all by itself."""
    return file_of(group, name).is_file() and "_target_" in settings_of(group, name)
