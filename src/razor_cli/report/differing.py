"""Which settings of a recorded run are not those of the options that it chose, nor of the command without
words.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from razor_cli.config.conf_files import conf_dir, default_option, groups, labelled, settings_of, values
from razor_cli.runs.records import RunRecord
from razor_cli.tables.flips import bare, shown

GROUPS = ("model", "scenario", "data", "method", "metrics", "quantization")
SAID = ("target",)  # what the report's first lines say
UNCOMPARED = ("_target_", "name", "default_target")


def differing(record: RunRecord) -> dict[str, Any]:
    """Return the settings that differ, by their full keys; without those of a group that no option is known
    of, such as one of the user's own.
    """
    found: dict[str, Any] = {}
    for key, default in values(conf_dir() / "config.yaml").items():
        own = record.settings.get(key, default)
        if key not in SAID and not isinstance(own, Mapping) and _plain(own) != _plain(default):
            found[key] = own
    for group in GROUPS:
        own = record.settings.get(group)
        option = _option(group, own, record) if isinstance(own, Mapping) else None
        if isinstance(own, Mapping) and option is not None:
            shipped = _shipped(group, option, record.family)
            found |= {f"{group}.{key}": value for key, value in _between(own, shipped).items()}
    return found


def sentence(record: RunRecord) -> str:
    """Return the settings that differ in one line, or that none does."""
    said = [f"{key}={shown(value)}" for key, value in differing(record).items()]
    return "  ".join(said) or "all as shipped"


def _option(group: str, own: Mapping[str, Any], record: RunRecord) -> str | None:
    """Return which option of a group a run chose; the default where its settings do not say."""
    label = {"model": record.model, "scenario": record.scenario, "method": record.method}.get(group)
    if label is not None:
        return labelled(group).get(label)
    default = default_option(group)
    options = [default, *groups([conf_dir()])[group]] if group == "data" else [default]
    return next((o for o in options if o and _class(_shipped(group, o, record.family)) == _class(own)), None)


@cache
def _shipped(group: str, option: str, family: str) -> Mapping[str, Any]:
    """Return every setting of an option, read once however many runs are listed."""
    return settings_of(group, option, family)


def _class(settings: Mapping[str, Any]) -> str:
    return str(settings.get("_target_")).rpartition(".")[2]


def _between(own: Mapping[str, Any], shipped: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return the settings that two mappings do not share, nested ones by their full keys; a setting that the
    option does not know came or went with a version.
    """
    found: dict[str, Any] = {}
    for key in (k for k in shipped if k not in UNCOMPARED and k in own):
        mine, theirs = own[key], shipped[key]
        if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
            inner = {k: (mine.get(k), theirs.get(k)) for k in dict.fromkeys((*theirs, *mine))}
            changed = {k: mine for k, (mine, theirs) in inner.items() if _plain(mine) != _plain(theirs)}
            found |= {f"{before}{key}.{k}": value for k, value in changed.items()}
        elif not (isinstance(theirs, str) and "${" in theirs) and _plain(mine) != _plain(theirs):
            found[f"{before}{key}"] = mine
    return found


def _plain(value: Any) -> Any:
    value = bare(value)
    return str(value) if isinstance(value, Path) else value
