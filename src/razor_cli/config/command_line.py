"""Read the words of a command line: quote text, check group choices, and leave the rest to our own check."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from razor_cli.config import family, hydra_words, outside, renamed, sweeps
from razor_cli.config.conf_files import file_of, groups, roots_of, settings_of, targets
from razor_cli.config.hydra_words import is_hydra
from razor_cli.config.no_option import no_option
from razor_cli.config.overrides import quote, quote_override
from razor_cli.config.schema import hints, locate
from razor_cli.config.settings import PLACES, Options, Scenario
from razor_cli.config.worded import reading
from razor_cli.errors import ConfigError, Problem


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
    """Return what tells whether a key takes text (`text`, `list`, `null`, and beside text a `map`), read from
    the schemas' field types.
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
    if get_origin(kind) is dict:
        return {"map"}
    arms = get_args(kind) if not isinstance(kind, type) else ()
    return {found for arm in arms for found in _text(arm)}


def read(arguments: Sequence[str], *, multirun: bool = False, extra: str | None = None) -> Request:
    """Quote text, check group choices and make every plain key acceptable to Hydra, so that our own check
    judges it.

    `extra` is a folder of the user's with more options, laid out like `conf/`.
    """
    roots, allowed = roots_of(extra), outside.allowed([outside.word(a) for a in arguments])
    with reading(arguments, roots):
        reader = _Reader(
            roots=roots,
            available=groups(roots),
            kinds=text_kinds(roots, allowed),
            multirun=multirun,
            continuous=any(a.lstrip("+").startswith("hydra/sweeper=") for a in arguments),
        )
        words = [
            reader.word(said) if not cut else _cut_short(said, cut) for said, cut in _whole(arguments, reader)
        ]
    problems = [p for word in words for p in word.problems]
    problems += sweeps.too_many([w.count for w in words]) if not problems else []
    skip = {w.skip for w in words if w.skip}
    kept = [w.text for w in words if w.text]
    kept = [t for t in kept if t.lstrip("+").split("=")[0].split(".")[0] not in skip]
    kept += [f"hydra.searchpath=[{quote(_search_path(roots[1]))}]"] if extra is not None else []
    return Request(
        overrides=kept, problems=problems, skip=frozenset(skip), roots=tuple(roots), allowed=allowed
    )


@dataclass(frozen=True, kw_only=True)
class _Word:
    """One word of a command line, read: what Hydra gets of it, or what is wrong."""

    text: str = ""
    problems: Sequence[Problem] = ()
    skip: str = ""  # the key that nothing more is to be said about
    count: float = 1  # values of a sweep


@dataclass(frozen=True, kw_only=True)
class _Reader:
    """What the words of one command line are read with."""

    roots: Sequence[Path]
    available: Mapping[str, Sequence[str]]
    kinds: Callable[[str], Collection[str]]
    multirun: bool
    continuous: bool  # a sweeper that takes intervals was chosen

    def word(self, argument: str) -> _Word:
        """Return one word, read."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException

        parser = OverridesParser.create()
        plain = renamed.word(outside.word(argument), self.available)
        text = quote_override(plain, self.kinds, multirun=self.multirun)
        try:
            override = parser.parse_override(text)
            listed = sweeps.named(override, self.available.get(override.key_or_group, ()))
            if listed:
                text = f"{override.key_or_group}={listed}"
                override = parser.parse_override(text)
        except (HydraException, ValueError) as error:
            return _Word(problems=[_unreadable(argument, str(error))])
        if wrong := _not_ours(argument, override, self.roots, multirun=self.multirun):
            return _Word(problems=wrong)
        if is_hydra(override.key_or_group) or override.is_delete():
            return _Word(text=text)
        return self._setting(argument, text, override)

    def _setting(self, argument: str, text: str, override: Any) -> _Word:
        """Return a word that chooses an option or sets a value, of one or of several."""
        key, several = override.key_or_group, override.is_sweep_override()
        if several and (wrong := self._unlistable(argument, override)):
            return _Word(problems=wrong, skip=key)
        count = sweeps.how_many(override) if several and override.is_discrete_sweep() else 1
        if key in self.available and not isinstance(None if several else override.value(), dict):
            wrong = _wrong_choices(override, key, self.available[key], self.roots)
            return _Word(problems=wrong, skip=key) if wrong else _Word(text=text.lstrip("+"), count=count)
        return _Word(text="++" + text.lstrip("+"), count=count)

    def _unlistable(self, argument: str, override: Any) -> list[Problem]:
        """Return what keeps several values from being a sweep."""
        if self.multirun:
            return sweeps.problems(argument, override, continuous=self.continuous)
        fix = "add -m to run each of them, or quote the comma"
        return [Problem(what=f"{argument}: several values are a sweep", fix=fix)]


def _whole(arguments: Sequence[str], reader: _Reader) -> list[tuple[str, str]]:
    """Return the words of a command line, each with what follows without a key and is the rest of its text:
    the shell took it for words of their own.
    """
    found: list[tuple[str, str]] = []
    for argument in arguments:
        said, cut = found[-1] if found else ("", "")
        key, equals, _ = said.lstrip("+").partition("=")
        if "=" not in argument and not argument.startswith("~") and equals and reader.kinds(key):
            found[-1] = (said, f"{cut} {argument}".strip())
        else:
            found.append((argument, ""))
    return found


def _cut_short(argument: str, rest: str) -> _Word:
    """Return the refusal of a text that a blank has cut."""
    key, _, value = argument.lstrip("+").partition("=")
    problem = Problem(
        what=f"{argument}: a value with a blank stands in quotes",
        found=f"{value} and {rest} as words of their own",
        fix=f'{key}="{value} {rest}"',
    )
    return _Word(problems=[problem], skip=key)


def _not_ours(argument: str, override: Any, roots: Sequence[Path], *, multirun: bool) -> list[Problem]:
    """Return why a word is none that the configuration is open to: the family, Hydra's own, another place."""
    key = override.key_or_group
    if not key:
        return [_unreadable(argument, "a value without a key")]
    if family.is_family(key):
        return [family.not_chosen(argument, roots)]
    if is_hydra(key):
        return hydra_words.problems(argument, override, multirun=multirun)
    if override.package is None:
        return []
    what = f"{argument}: a group lands in the place that has its name"
    return [Problem(what=what, allowed="GROUP=NAME", found=f"@{override.package}", fix=f"{key}=NAME")]


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


def _wrong_choices(override: Any, group: str, options: Sequence[str], roots: Sequence[Path]) -> list[Problem]:
    """Return a problem for every chosen option that does not exist."""
    chosen = (
        list(override.sweep_string_iterator())
        if override.is_sweep_override()
        else [override.get_value_element_as_str()]
    )
    names = [name.strip("'\"") for name in chosen]
    return [
        no_option(group, name, options, roots)
        for name in names
        if name not in options and not _stands_alone(group, name)
    ]


def _stands_alone(group: str, name: str) -> bool:
    """Tell whether a name is a family's file of a group, `razor/<family>`, and says all by itself."""
    return file_of(group, name).is_file() and "_target_" in settings_of(group, name)
