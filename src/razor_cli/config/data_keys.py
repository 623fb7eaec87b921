"""Settings that the chosen kind of data has not and other kinds have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from razor_cli.config.conf_files import conf_dir, groups, settings_of
from razor_cli.config.schema import hints, locate, unknown
from razor_cli.config.settings import PLACES
from razor_cli.errors import Problem


def own_keys(
    cls: type, node: Mapping[Any, Any], place: str, problems: list[Problem], family: str | None = None
) -> dict[Any, Any]:
    """Return data settings less those that only other kinds of data have: a refusal says which do."""
    own = hints(cls)
    having = {k: kinds_with(str(k), place, family) for k in node if k not in own and k != "_target_"}
    for key, kinds in having.items():
        if kinds:
            fix = f"{', '.join(f'data={kind}' for kind in kinds)} {'has' if len(kinds) == 1 else 'have'} it"
            problems.append(replace(unknown(key, "data", own), fix=fix))
    return {k: v for k, v in node.items() if not having.get(k)}


def kinds_with(key: str, place: str, family: str | None = None) -> list[str]:
    """Return the kinds of data that have a setting; their classes lie in `place`."""
    return [kind for kind, cls in _classes(place, family).items() if key in hints(cls)]


def draws(data: object) -> bool:
    """Tell whether a kind of data, or a class of one, is for models that draw pictures."""
    return bool(getattr(data, "draws", False))


def kinds_that_draw(family: str, *, drawn: bool) -> list[str]:
    """Return the shipped kinds of data for a family's models: those that draw, or those that compare."""
    return [kind for kind, cls in _classes(PLACES["data"], family).items() if draws(cls) is drawn]


def _classes(place: str, family: str | None) -> dict[str, type]:
    """Return the class of every kind of data that has one for a family."""
    targets = {k: settings_of("data", k, family).get("_target_") for k in groups([conf_dir()])["data"]}
    return {kind: locate(target, place, "data") for kind, target in targets.items() if target}
