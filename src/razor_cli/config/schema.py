"""Check plain values against a frozen dataclass, which is their schema, and report every problem at once."""

from __future__ import annotations

import dataclasses
import importlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from razor_cli.config.scalars import INVALID, is_finite, scalar
from razor_cli.errors import ConfigError, Problem, nearest, shortened

T = TypeVar("T")
INFINITE = "infinite"  # a field's metadata: inf means something there, `field(metadata={INFINITE: True})`
WORDS = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path that the system allows",
    NoneType: "null",
}


def together(problems: Sequence[Problem]) -> ConfigError:
    """Return one error that lists all problems."""
    unique = list(dict.fromkeys(p.error().message() for p in problems))
    if len(unique) == 1:
        return problems[0].error()
    listed = [f"\n{i}. " + text.replace("\n", "\n   ") for i, text in enumerate(unique, 1)]
    return ConfigError(f"{len(unique)} problems in the configuration" + "".join(listed))


def hints(cls: type) -> Mapping[str, Any]:
    """Return the type of every field that a configuration may set."""
    return _hints(cls)


@cache
def _hints(cls: type) -> Mapping[str, Any]:
    types = get_type_hints(cls)
    return MappingProxyType({f.name: types[f.name] for f in fields(cls) if f.init})


def locate(target: object, place: str, key: str, allowed: Collection[str] = ()) -> type:
    """Return the dataclass that `_target_` names; only classes inside `place`, a prefix within razor_cli, and
    of the `allowed` packages are reachable.

    Raises:
        ConfigError: another place, no such module or class, or a class that is no frozen dataclass.

    """
    where = f"{key}._target_"
    package = target.partition(".")[0] if isinstance(target, str) else ""
    ours = package == "razor_cli" and f"{target}.".startswith(place)
    if (
        not isinstance(target, str)
        or not re.fullmatch(r"\w+(\.\w+)+", target)
        or not (ours or package in allowed)
    ):
        raise ConfigError(
            f"{where} may not point there: no code outside {place} is run",
            allowed=f"{place}*",
            found=target,
            fix=f"allow_code={package}, if you trust that code" if package and not ours else None,
        )
    module, name = target.rsplit(".", 1)
    loaded: object = None
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not module.startswith(error.name):
            raise
    found = getattr(loaded, name, None)
    if not _is_settings(found):
        there = sorted(n for n, c in vars(loaded).items() if _is_settings(c)) if loaded else []
        near = [f"{module}.{n}" for n in nearest(name, there) or there[:3]]
        raise ConfigError(
            f"{where}: no frozen dataclass of that name",
            allowed=f"{place}*"
            if ours
            else f"classes of {module}, with @dataclass(frozen=True, kw_only=True)",
            found=target,
            fix=f"did you mean {' or '.join(near)}?" if near else None,
        )
    assert isinstance(found, type)
    return found


def _is_settings(found: object) -> bool:
    return isinstance(found, type) and is_dataclass(found) and bool(found.__dataclass_params__.frozen)  # type: ignore[attr-defined]


def build(cls: type[T], node: object, key: str, problems: list[Problem]) -> T | None:
    """Return the dataclass that `node` describes, or None when something is missing; problems are appended.

    A field whose value was refused takes its default, so that the rest of the node is checked all the same.
    """
    if not isinstance(node, Mapping):
        problems.append(
            Problem(
                what=f"{key or 'configuration'} must be a group of settings",
                allowed=sorted(hints(cls)),
                found=node,
            )
        )
        return None
    types = hints(cls)
    open_ended = {f.name for f in fields(cls) if f.metadata.get(INFINITE)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for name, value in node.items():
        if name == "_target_":
            problems += _other_class(value, cls, key)
            continue
        if name not in types:
            problems.append(unknown(name, key, types))
            continue
        converted = convert(value, types[name], _join(key, name), problems)
        if name not in open_ended and not is_finite(converted):
            what = f"{_join(key, name)} must be finite"
            problems.append(Problem(what=what, allowed=describe(types[name]), found=converted))
        elif converted is not INVALID:
            values[name] = converted
    needed = [f.name for f in fields(cls) if f.init and f.default is MISSING and f.default_factory is MISSING]  # type: ignore[arg-type]
    problems += [
        Problem(what=f"{_join(key, n)} is missing", allowed=describe(types[n]))
        for n in needed
        if n not in node
    ]
    return _construct(cls, values, key, problems) if values.keys() >= set(needed) else None


def checked_settings(cls: type[T], values: Mapping[str, object], key: str = "model") -> T:
    """Return the dataclass that values describe. Raises ConfigError with every problem."""
    problems: list[Problem] = []
    found = build(cls, values, key, problems)
    if problems or found is None:
        raise together(problems)
    return found


def _other_class(target: object, cls: type, key: str) -> list[Problem]:
    """Return the problem of a class that is named where another one is built."""
    if isinstance(target, str) and target.rpartition(".")[2] == cls.__name__:
        return []
    what = f"{_join(key, '_target_')}: no class is chosen here"
    return [Problem(what=what, allowed="a group's own file, by GROUP=NAME", found=shortened(repr(target)))]


def unknown(name: object, key: str, known: Mapping[str, object] | Sequence[str]) -> Problem:
    """Return the problem of a setting that does not exist, with the nearest that do."""
    close = [_join(key, n) for n in nearest(str(name), known)]
    return Problem(
        what=f"{_join(key, str(name))}: there is no such setting",
        allowed=f"in {key}: {', '.join(sorted(known))}" if key else ", ".join(sorted(known)),
        fix=f"did you mean {' or '.join(close)}?" if close else None,
    )


def _join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _construct(cls: type[T], values: dict[str, Any], key: str, problems: list[Problem]) -> T | None:
    """Build the object; when it complains, drop the field it names and try again, to hear its next complaint
    too.
    """
    defaults = {f.name for f in fields(cls) if f.default is not MISSING or f.default_factory is not MISSING}  # type: ignore[arg-type]
    values = dict(values)
    while True:
        try:
            return cls(**values)
        except (ConfigError, ValueError) as error:
            problem = Problem.of(error, key)
            if problem not in problems:
                problems.append(problem)
            blamed = [n for n in values if n in defaults and re.search(rf"\b{re.escape(n)}\b", problem.what)]
            if not blamed:
                return None
            del values[min(blamed, key=lambda n: (_join(key, n) not in problem.what, problem.what.find(n)))]


def describe(kind: Any) -> str:
    """Return what a field takes, in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(describe(k) for k in inner)
    if origin in (list, tuple):
        return f"a list [a, b] of {describe(inner[0])}"
    if origin is dict:
        return f"a mapping of names to {describe(inner[1])}"
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ", ".join(str(m.value) for m in kind)
    return WORDS.get(kind, getattr(kind, "__name__", str(kind)))


def convert(value: object, kind: Any, key: str, problems: list[Problem]) -> Any:
    """Return `value` as the type `kind`, or INVALID with the reason appended to `problems`."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return value
    if origin in (Union, UnionType):
        return _convert_union(value, kind, key, problems)
    if origin in (list, tuple) and isinstance(value, (list, tuple)):
        items = [convert(v, inner[0], f"{key}[{i}]", problems) for i, v in enumerate(value)]
        return INVALID if INVALID in items else origin(items)
    if origin is dict and isinstance(value, Mapping):
        made = {str(k): convert(v, inner[1], _join(key, str(k)), problems) for k, v in value.items()}
        return INVALID if any(v is INVALID for v in made.values()) else made
    if isinstance(kind, type) and is_dataclass(kind):
        built = build(kind, value, key, problems)
        return INVALID if built is None else built
    found = INVALID if origin else scalar(value, kind)
    if found is INVALID:
        problems.append(_mismatch(value, kind, key))
    return found


def _convert_union(value: object, kind: Any, key: str, problems: list[Problem]) -> Any:
    """Take the first alternative that fits; an exact type goes before a conversion."""
    inner = sorted(get_args(kind), key=lambda k: k is not type(value))
    for option in inner:
        trial: list[Problem] = []
        converted = convert(value, option, key, trial)
        if converted is not INVALID and not trial:
            return converted
    real = [k for k in inner if k is not NoneType]
    if len(real) == 1 and value is not None and (is_dataclass(real[0]) or get_origin(real[0])):
        return convert(value, real[0], key, problems)  # the parts of the one alternative say it better
    problems.append(_mismatch(value, kind, key))
    return INVALID


def _mismatch(value: object, kind: Any, key: str) -> Problem:
    choices = [
        str(m.value)
        for k in (kind, *get_args(kind))
        if isinstance(k, type) and issubclass(k, Enum)
        for m in k
    ]
    close = nearest("none" if value is None else str(value), choices)
    fix = f"did you mean {key}={' or '.join(close)}?" if close else None
    if kind is str and isinstance(value, (int, float)):
        fix = f"put it in quotes: {key}: '{value}'"
    found = "null" if value is None else shortened(repr(value) if isinstance(value, str) else str(value))
    return Problem(
        what=f"{key} has the wrong {'value' if choices else 'type'}",
        allowed=describe(kind),
        found=found,
        fix=fix,
    )


def class_id(cls: type) -> str:
    """Return how run ids name a class: without its module, so that a move renames nothing; with its package
    if that is not ours.
    """
    package = cls.__module__.partition(".")[0]
    return cls.__qualname__ if package == "razor_cli" else f"{package}.{cls.__qualname__}"


def class_path(cls: type) -> str:
    """Return where a class is found, as a configuration names it."""
    return f"{cls.__module__}.{cls.__qualname__}"


def plain(value: object, named: Callable[[type], str] = class_id) -> Any:
    """Return a checked object as plain, ordered values: dataclasses with their class, enums by value, paths
    as text.
    """
    if is_dataclass(value) and not isinstance(value, type):
        inner = {
            f.name: plain(getattr(value, f.name), named)
            for f in sorted(dataclasses.fields(value), key=lambda f: f.name)
        }
        return {"_target_": named(type(value)), **inner}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): plain(value[k], named) for k in sorted(value, key=str)}
    return [plain(v, named) for v in value] if isinstance(value, (list, tuple)) else value
