"""Settings of the presets, and changes of them as a user's yaml or command line has them."""

from __future__ import annotations

from functools import cache
from typing import Any

from razor_cli.config.conf_files import option_of, settings_of


@cache
def shipped(name: str) -> dict[str, Any]:
    """Return every setting of the preset with that label, read once."""
    return settings_of("method", option_of("method", name))


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
