"""The command that runs what a panel lacks, on the panel's own model and data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from razor_cli import plain_yaml
from razor_cli.config.conf_files import conf_dir, default_option, option_of
from razor_cli.config.overrides import as_typed, quote, shell_command
from razor_cli.runs.folder import Run

GROUPS = ("model", "data", "metrics")  # what a panel's runs share
PLACE = "DIR"  # stands for a path of the machine that recorded


def not_run(experiment: str, runs: Sequence[Run] = (), **words: str) -> str:
    """Return why a row is empty: the command of its experiment, with what `runs` of its panel were asked for
    of model, data and metrics, then `words`; an empty word is left out.
    """
    return f"no run recorded: {command(experiment, runs, **words)}"


def command(experiment: str, runs: Sequence[Run] = (), **words: str) -> str:
    """Return that command. `method` is a preset's label."""
    if "method" in words:
        words["method"] = option_of("method", words["method"])
    given = {k: v for k, v in words.items() if v}
    asked = {k: v for k, v in _shared(experiment, runs).items() if k not in given}
    return shell_command([f"experiment={experiment}", *_typed(asked), *_typed(given)])


def _typed(words: Mapping[str, Any]) -> list[str]:
    return [as_typed(f"{k}={_literal(v)}") for k, v in words.items()]


def _literal(value: Any) -> str:
    """Return a value in Hydra's grammar; a path is its place only."""
    if isinstance(value, str):
        return PLACE if PurePath(value).is_absolute() else quote(value)
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"[{','.join(map(_literal, value))}]" if isinstance(value, list | tuple) else str(value)


def _shared(experiment: str, runs: Sequence[Run]) -> dict[str, Any]:
    """Return what the last run was asked for of model, data and metrics, and its experiment does not ask for
    anyway. A run that does not say (from a score file, or of an early version) has its model.
    """
    if not runs:
        return {}
    last = max(runs, key=lambda r: (r.record.provenance.finished, r.run_id)).record
    listed = _listed(experiment)
    asked = {k: v for k, v in last.overrides.items() if k.partition(".")[0] in GROUPS}
    if not last.overrides:
        asked["model"] = option_of("model", last.model)
    usual = {"model": [default_option("model")]} | listed
    one = len(set(usual["model"])) == 1  # of several models the panel's own is named
    return {k: v for k, v in asked.items() if v not in usual.get(k, ()) or (k == "model" and not one)}


def _listed(experiment: str) -> dict[str, list[Any]]:
    """Return the values that the blocks of an experiment's grid list, by key."""
    content = plain_yaml.load(conf_dir() / "experiment" / f"{experiment}.yaml")
    found: dict[str, list[Any]] = {}
    for block in content.get("grid", ()) if isinstance(content, Mapping) else ():
        for key, values in block.items():
            found.setdefault(str(key), []).extend(values if isinstance(values, list) else [values])
    return found
