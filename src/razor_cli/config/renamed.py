"""Names of options and settings that have changed: the old ones are understood for one release, and the new
one is said.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Mapping
from functools import cache
from typing import Any

from razor_cli.config.overrides import OVERRIDE
from razor_cli.errors import ConfigError
from razor_cli.printing import say

VARIANTS = {  # method: variants that were methods of their own, `razor_paper` for `razor/paper`
    "ft": ("paper",),
    "ga": ("nce", "paper", "tan", "tan_cars", "tan_paper"),
    "ga_kl": ("cars", "paper", "tan"),
    "gaft": ("paper",),
    "gdiff": ("cars", "paper", "tan"),
    "lotus": ("class", "paper"),
    "me_gd": ("cars", "paper", "tan"),
    "nhl_kl": ("cars", "paper", "tan"),
    "npo_kl": ("cars", "paper", "tan"),
    "razor": ("alg1", "anchor", "paper"),
    "relabel": ("cars", "paper", "tan"),
    "salun": ("paper", "slug", "tan", "tan_cars", "tan_paper"),
    "slug": ("code",),
    "ssd": ("paper", "slug"),
    "task_vector": ("cars", "paper", "tan"),
}
OPTIONS = {"method": {f"{m}_{v}": f"{m}/{v}" for m, variants in VARIANTS.items() for v in variants}}
GOALS = ("m1", "m4_drop", "m5", "others_drop", "quality", "utility")
FLOORS = {"search_floor": "m5", "search_m4_drop": "m4_drop", "search_others_drop": "others_drop"}
KEYS = {  # full key: full key
    **{f"method.target_{goal}": f"method.target.{goal}" for goal in GOALS},
    **{f"method.{old}": f"method.floor.{goal}" for old, goal in FLOORS.items()},
}
VALUES = {"method.criterion": {"top5_zero": "fa_top5", "top1_zero": "fa_top1", "m1_below": "m1_mean"}}
SWITCHES = {  # full key of what was true or false: the present key, and what each of the two is there
    "exit_on_reject": ("exit_on", {True: "rejected", False: None})
}
GONE = {  # full key: what says the same now
    "method.target_m1_prompts": "method.target.m1 asks for both prompts; for one say method.target.m1=null "
    "and method.target.m1_mean=X or method.target.m1_generic=X"
}
AGAIN = {"method": ("retries",)}  # lists whose items hold settings of their group once more
NAME = re.compile(r"[\w/]+")
ENTRY = re.compile(r"(?P<before>(?:optional |override )*/?)(?P<group>\w+)(?P<package>@.*)?")


@cache
def announce(old: str, new: str) -> None:
    """Say once that a name has changed."""
    say(f"{old} is now {new}; the old name is understood until the next release", file=sys.stderr)


def option(group: str, name: str, own: Collection[str] = ()) -> str:
    """Return the present name of an option; one that is among the user's `own` keeps its name."""
    new = OPTIONS.get(group, {}).get(name, name)
    if new == name or name in own:
        return name
    announce(f"{group}={name}", f"{group}={new}")
    return new


def word(text: str, own: Mapping[str, Collection[str]]) -> str:
    """Return one word of a command line, `key=value`, with present names; `own` are the options there are."""
    match = OVERRIDE.fullmatch(text)
    if match is None:
        return text
    plus, name, value = match["plus"], match["key"], match["value"]
    if name in SWITCHES and value.lower() in ("true", "false"):
        name, now = switched(name, value.lower() == "true")
        return f"{plus}{name}={'null' if now is None else now}"
    if name in OPTIONS and not value.startswith("{"):
        value = NAME.sub(lambda m: option(name, m[0], own.get(name, ())), value)
    elif name in VALUES:
        value = NAME.sub(lambda m: meant(name, m[0]), value)
    return f"{plus}{key(name)}={value}"


def key(name: str) -> str:
    """Return the present name of a full key. Raises ConfigError for one that nothing stands for any more."""
    if name in GONE:
        raise ConfigError(f"{name} is gone", fix=GONE[name])
    if name in KEYS:
        announce(name, KEYS[name])
    return KEYS.get(name, name)


def switched(name: str, value: Any) -> tuple[str, Any]:
    """Return the present key and value of a switch; one whose value is neither true nor false stays."""
    if name not in SWITCHES or not isinstance(value, bool):
        return name, value
    new, values = SWITCHES[name]
    shown = "null" if values[value] is None else values[value]
    announce(f"{name}={str(value).lower()}", f"{new}={shown}")
    return new, values[value]


def meant(name: str, value: Any) -> Any:
    """Return the present word for the value of a full key."""
    new = VALUES.get(name, {}).get(value, value) if isinstance(value, str) else value
    if new != value:
        announce(f"{name}={value}", f"{name}={new}")
    return new


def within(node: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole configuration in which what lists hold of a group's settings has present names."""
    found = dict(node)
    for group, names in AGAIN.items():
        if isinstance(part := found.get(group), Mapping):
            lists = {n: part[n] for n in names if isinstance(part.get(n), list)}
            found[group] = {**part, **_settings(lists, group)}
    return found


def block(content: Mapping[str, Any], own: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return a block of a grid, full keys with lists of values, with present names."""
    named = {
        key(k): [meant(k, option(k, v, own.get(k, ()))) if isinstance(v, str) else v for v in values]
        for k, values in content.items()
    }
    pairs = [
        (switched(k, values[0])[0], [switched(k, v)[1] for v in values])
        for k, values in named.items()
        if values
    ]
    return dict(pairs) | {k: values for k, values in named.items() if not values}


def content(file: Mapping[str, Any], group: str, own: Mapping[str, Collection[str]]) -> dict[str, Any]:
    """Return what a user's yaml file holds with present names. `group` is where its settings lie, "" for the
    root.
    """
    changed = _settings(file, group)
    if isinstance(changed.get("defaults"), list):
        changed["defaults"] = [_entry(e, group, own) for e in changed["defaults"]]
    return changed


def _settings(node: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return settings that lie at `place` with present keys."""
    changed: dict[str, Any] = {}
    moved: dict[str, Any] = {}
    for name, value in node.items():
        full = f"{place}.{name}" if place else str(name)
        if full in KEYS or full in GONE:
            moved[key(full).removeprefix(f"{place}." if place else "")] = value
        elif isinstance(value, Mapping):
            changed[name] = _settings(value, full)
        elif isinstance(value, list) and name in AGAIN.get(place, ()):
            changed[name] = [_settings(v, place) if isinstance(v, Mapping) else v for v in value]
        elif not place and name in SWITCHES:
            new, now = switched(name, value)
            changed[new] = now
        else:
            changed[name] = meant(full, value)
    for path, value in moved.items():
        *parents, last = path.split(".")
        inner = changed
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return changed


def _entry(entry: Any, group: str, own: Mapping[str, Collection[str]]) -> Any:
    """Return an entry of a defaults list with present names; a variant, `razor/paper`, lands in its group and
    not in a folder of it.
    """
    if isinstance(entry, str) and group:
        path, _, package = entry.partition("@")
        name = option(group, path.removeprefix(f"/{group}/"), own.get(group, ()))
        is_variant = "/" in name and not name.startswith("/")
        return f"/{group}/{name}@{package or '_here_'}" if is_variant else entry
    if isinstance(entry, Mapping):
        return {k: _chosen(k, v, own) for k, v in entry.items()}
    return entry


def _chosen(entry: str, value: Any, own: Mapping[str, Collection[str]]) -> Any:
    match = ENTRY.fullmatch(entry)
    if match is None or not isinstance(value, str):
        return value
    return option(match["group"], value, own.get(match["group"], ()))
