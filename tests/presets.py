"""The shipped presets of methods, by their labels, with changes over them as a user would write them."""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

from razor_cli.config import renamed
from razor_cli.config.conf_files import labelled, option_of, settings_of
from razor_cli.config.schema import build, locate, together
from razor_cli.config.settings import PLACES
from razor_cli.errors import Problem


@cache
def shipped(name: str, family: str | None = None) -> dict[str, Any]:
    """Return every setting of the preset with that label for models of a family (none: the default one), read
    once.
    """
    return settings_of("method", option_of("method", name), family)


def unfolded(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings in which `target.m1` lies in the mapping `target`, those in lists included."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        first, _, rest = key.partition(".")
        inner = unfolded({rest: value}) if rest else value
        if isinstance(inner, list):
            inner = [unfolded(v) if isinstance(v, dict) else v for v in inner]
        found = merged(found, {first: inner})
    return found


def merged(below: Any, above: Any) -> Any:
    """Return a setting with another one over it: mappings key by key, all else replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return below | {k: merged(below.get(k), v) for k, v in above.items()}
    return above


def preset(name: str, /, _family: str | None = None, **changes: Any) -> Any:
    """Return the method of a preset, named by its label, through its schema; `changes` are settings as a
    user's yaml or command line has them: mappings are merged key by key, `target.m1` is one of their keys,
    and a former name of it (`target_m1`) is understood. `_family` is the family of models it is for.
    """
    changes = unfolded(renamed.content(changes, "method", {}))
    node = merged(shipped(name, _family), changes)
    problems: list[Problem] = []
    method = build(locate(node["_target_"], PLACES["method"], "method"), node, "method", problems)
    if problems:
        raise together(problems)
    return method


def preset_names(offers: Collection[str] | None = None, family: str | None = None) -> dict[str, str]:
    """Return the preset of each method, by its label; only those that need no more than `offers`, as models
    of a family read them.
    """
    found = labelled("method")
    if offers is None:
        return found
    return {n: p for n, p in found.items() if preset(n, family).needs <= set(offers)}
