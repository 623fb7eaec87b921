"""Experiments as grids: blocks of keys with lists of values, multiplied out into jobs that are all checked
before one starts.

    grid:
      - {scenario: [class], data: [cifar10], target: [dog, ship], method: [razor, slug], seed: [0, 1]}
      - {scenario: [identity], data: [standin], target: ["Taylor Swift"], method: [razor, slug], seed: [0, 1]}

What the command line says goes first. `scenario`, `target` and `method` choose among what the blocks list,
and a block with none of the chosen is left out; a method that no block lists stands in for those of every
block. Every other key replaces its list in every block, and several values of a key that no block has
multiply every block. `targets=N` is a word of grids alone: of what is left, the first N targets of every
block. A setting that only some of the grid's kinds of data have goes to those (`data_words.py`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli import plain_yaml
from razor_cli.config import command_line, interpolations, renamed, sweeps
from razor_cli.config.conf_files import bases, groups, roots_of
from razor_cli.config.hydra_words import is_hydra
from razor_cli.config.schema import together
from razor_cli.errors import ConfigError, Problem, nearest

Block = dict[str, list[Any]]
MOST = "targets="
CHOOSING = (
    "scenario",
    "target",
    "method",
)  # keys that choose among the blocks instead of replacing what they list


class SeveralScenariosError(ConfigError):
    """No block lists the target, and it could belong to several of the grid's scenarios."""

    def __init__(self, target: str, scenarios: Sequence[str], listed: Sequence[str]) -> None:
        self.target, self.scenarios = target, tuple(scenarios)
        super().__init__(
            f"target={target}: no block of this grid lists it, and it could belong to several scenarios",
            allowed=", ".join(listed),
            found=target,
            fix=f"say which: scenario={' or scenario='.join(scenarios)}",
        )


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A command line, read: blocks after its choices, words that hold for every job, and what was wrong with
    it.
    """

    name: str  # of the experiment, or "" for a sweep
    blocks: list[Block]
    words: list[str]  # as typed, for every job
    extra: str | None = None
    multirun: bool = True  # a comma separates values, as in a grid and with -m
    given: frozenset[str] = frozenset()  # keys of which the command line gives all values


def chosen_blocks(arguments: Sequence[str], extra: str | None = None) -> tuple[str, list[Block]] | None:
    """Return the experiment that a command line names and its blocks; None if it has no grid, or `grid=`
    switches it off.
    """
    plain = [a.lstrip("+") for a in arguments]
    named = [a.partition("=")[2].strip("'\"") for a in plain if a.startswith("experiment=")]
    if not named or any(a.startswith("grid=") for a in plain):
        return None
    if named[-1] not in groups(roots_of(extra)).get("experiment", ()):
        return None
    for root in roots_of(extra):
        file = root / "experiment" / f"{named[-1]}.yaml"
        if file.is_file() and (blocks := _grid_of(file)):
            return named[-1], [renamed.block(block, groups(roots_of(extra))) for block in blocks]
    return None


def _grid_of(file: Path) -> list[Block]:
    """Return the blocks of an experiment's file, or of the nearest one it builds on; scalars become lists of
    one.
    """
    content = plain_yaml.load(file)
    if not isinstance(content, Mapping) or "grid" not in content:
        return next((found for base in reversed(bases(file)) if (found := _grid_of(base))), [])
    if wrong := interpolations.problems(content, str(file)):
        raise together(wrong)
    grid = content["grid"]
    if not isinstance(grid, list) or not all(isinstance(b, Mapping) and b for b in grid):
        raise ConfigError(
            f"grid of experiment={file.stem} must be a list of blocks",
            allowed="- {key: [value, value], ...}",
            found=grid,
        )
    return [{str(k): v if isinstance(v, list) else [v] for k, v in block.items()} for block in grid]


def read(
    arguments: Sequence[str],
    name: str,
    blocks: Sequence[Block],
    extra: str | None = None,
    *,
    multirun: bool = True,
) -> Asked:
    """Return what a command line asks of a grid, or of a sweep or a run that is to be listed. Raises
    ConfigError for words that cannot be read or chosen.
    """
    in_blocks = {key for block in blocks for key in block}
    given: dict[str, list[Any]] = {}
    words: list[str] = []
    problems: list[Problem] = []
    most: int | None = None
    for argument in arguments:
        if argument.startswith(MOST) and name:
            most = _count(argument)
            continue
        request = command_line.read([argument], multirun=multirun, extra=extra)
        problems += request.problems or _not_here(argument, name)
        if request.problems or is_hydra(argument):
            continue
        key, values, several = command_line.values_of(request.overrides[0])
        if key in (*in_blocks, *CHOOSING) or several:
            given[key] = values
        else:
            words.append(argument)
    if problems:
        raise together(problems)
    chosen = narrowed([dict(b) for b in blocks], given)
    chosen = [b | {"target": b["target"][:most]} if "target" in b else b for b in chosen]
    if problems := sweeps.too_many([sum(math.prod(map(len, block.values())) for block in chosen)]):
        raise together(problems)
    return Asked(
        name=name, blocks=chosen, words=words, extra=extra, multirun=multirun, given=frozenset(given)
    )


def _not_here(argument: str, name: str) -> list[Problem]:
    """Return the problem of a word about Hydra's launcher in a grid, which starts its processes itself."""
    if not (name and is_hydra(argument)):
        return []
    what = f"{argument}: launcher and sweeper are those of a sweep with -m, and experiment={name} is a grid"
    return [Problem(what=what, fix="jobs=N spreads a grid over processes")]


def _count(argument: str) -> int:
    """Return N of `targets=N`. Raises ConfigError for anything that is no count."""
    text = argument.removeprefix(MOST)
    if not text.isdigit() or not int(text):
        raise ConfigError(
            "targets: how many targets of each block of a grid",
            allowed="1 or more",
            found=text or "nothing",
            fix="one target is named by target=NAME",
        )
    return int(text)


def narrowed(blocks: list[Block], given: Mapping[str, list[Any]]) -> list[Block]:
    """Return the blocks after what the command line gives: keys of CHOOSING choose, other keys replace or
    multiply.

    Raises ConfigError for a scenario that no block has, SeveralScenariosError for a target that no block
    lists where the blocks have several.
    """
    for key in CHOOSING:
        if key not in given:
            continue
        listed = [v for block in blocks for v in block.get(key, [])]
        new = [v for v in given[key] if v not in listed]
        if not new:
            blocks = [block | {key: [v for v in given[key] if v in block.get(key, [])]} for block in blocks]
            blocks = [block for block in blocks if block[key]]
        elif key == "method":
            blocks = [block | {key: given[key]} for block in blocks]
        elif key == "scenario" and listed:
            near = nearest(str(new[0]), map(str, listed))
            raise ConfigError(
                f"scenario={new[0]}: no block of this grid has it",
                allowed=", ".join(map(str, dict.fromkeys(listed))),
                fix=f"did you mean scenario={near[0]}?" if near else None,
            )
        elif (
            len(scenarios := list(dict.fromkeys(s for block in blocks for s in block.get("scenario", []))))
            > 1
        ):
            raise SeveralScenariosError(str(new[0]), scenarios, list(dict.fromkeys(map(str, listed))))
        else:
            blocks = [block | {key: given[key]} for block in blocks]
    others = {k: v for k, v in given.items() if k not in CHOOSING}
    anywhere = {k for block in blocks for k in block}
    return [block | {k: v for k, v in others.items() if k in block or k not in anywhere} for block in blocks]


def points(blocks: Sequence[Block]) -> list[dict[str, Any]]:
    """Return every combination of every block, each once, in the order of the blocks; the last key runs
    fastest.
    """
    found: dict[str, dict[str, Any]] = {}
    for block in blocks:
        for values in itertools.product(*block.values()):
            point = dict(zip(block, values, strict=True))
            found.setdefault(repr(sorted(point.items(), key=lambda kv: kv[0])), point)
    return list(found.values())
