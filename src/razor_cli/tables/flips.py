"""Which settings of a recorded run differ from its preset's yaml file, and how they are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from razor_cli.config.conf_files import option_of, settings_of

UNCOMPARED = ("_target_", "name")


def preset_settings(name: str, family: str | None = None) -> dict[str, Any]:
    """Return every setting of the preset with that label, those it inherits included, as it is for a family;
    None: the default one.
    """
    return settings_of("method", option_of("method", name), family)


def flipped(method: Mapping[str, object], preset: Mapping[str, object]) -> dict[str, object]:
    """Return the settings in which a run's method differs from a preset, in the preset's order.

    A setting that only one of them knows is no flip: it came or went with a version. Of a mapping each key is
    a setting of its own, `floor.m5`, and one that is not there is null.
    """
    flips: dict[str, object] = {}
    for key in (k for k in preset if k not in UNCOMPARED and k in method):
        mine, theirs = bare(method[key]), bare(preset[key])
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            inner = dict.fromkeys((*theirs, *mine))
            flips |= {f"{key}.{k}": mine.get(k) for k in inner if mine.get(k) != theirs.get(k)}
        elif mine != theirs:
            flips[key] = mine
    return flips


def bare(value: Any) -> Any:
    """Return a setting without what a schema adds to nested ones: class names, and settings left to their
    default.
    """
    if isinstance(value, list | tuple):
        return [bare(v) for v in value]
    if isinstance(value, Mapping):
        return {k: bare(v) for k, v in value.items() if k != "_target_" and v is not None}
    return value


def shown(value: object) -> str:
    """Return a setting's value as the command line takes it, nested ones in words."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return "; ".join(shown(v) for v in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {shown(v)}" for k, v in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
