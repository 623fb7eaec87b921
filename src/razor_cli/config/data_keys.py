"""Settings that the chosen kind of data has not and other kinds have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from razor_cli.config.conf_files import conf_dir, groups, settings_of
from razor_cli.config.schema import hints, locate, unknown
from razor_cli.errors import Problem


def own_keys(cls: type, node: Mapping[Any, Any], place: str, problems: list[Problem]) -> dict[Any, Any]:
    """Return data settings less those that only other kinds of data have: a refusal says which do."""
    own = hints(cls)
    having = {k: kinds_with(str(k), place) for k in node if k not in own and k != "_target_"}
    for key, kinds in having.items():
        if kinds:
            fix = f"{', '.join(f'data={kind}' for kind in kinds)} {'has' if len(kinds) == 1 else 'have'} it"
            problems.append(replace(unknown(key, "data", own), fix=fix))
    return {k: v for k, v in node.items() if not having.get(k)}


def kinds_with(key: str, place: str) -> list[str]:
    """Return the kinds of data that have a setting; their classes lie in `place`."""
    kinds = groups([conf_dir()])["data"]
    return [k for k in kinds if key in hints(locate(settings_of("data", k)["_target_"], place, "data"))]
