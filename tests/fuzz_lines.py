"""Command lines of `razor-run` drawn by chance from the schemas' own types: right, wrong and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from hostile_files import OWN

from razor_cli.config.conf_files import GROUPS, conf_dir, groups, settings_of
from razor_cli.config.schema import hints, locate
from razor_cli.config.settings import PLACES, Options

NUMBERS = ["0", "1", "3", "-1", "1.5", "1e-3", "inf", "-inf", "nan", "1e999", "9" * 30, "9" * 5000, "1e-320"]
WORDS = [
    "",
    "null",
    "true",
    "abc",
    "''",
    '"',
    "[",
    "[]",
    "{}",
    "[1,2]",
    "{a: 1}",
    "???",
    "${seed}",
    "${nope}",
]
HOSTILE = [
    "${oc.env:HOME}",
    "${oc.${engine}:X}",
    "${",
    "${hydra:runtime.cwd}",
    "$",
    "\\",
    "x\ny",
    "\udcff",
    "~",
]
TEXTS = [
    "Taylor Swift",
    "'Quoted'",
    '"Quoted"',
    "a,b",
    "a=b",
    "[a]",
    "{a: b}",
    " ",
    "x" * 5000,
    "glob(*)",
    "🦉",
]
PATHS = [
    "/dev/null",
    "/dev/null/x",
    "x" * 300,
    "/".join(["x" * 200] * 30),
    "~nobody_of_that_name/x",
    "/nowhere/x",
    ".",
    "file",
    "file/below",
    "dangling",
]
LISTS = [
    "[]",
    "[a,b]",
    "[[a],[b]]",
    "[[a]]",
    "[{a: b}]",
    "[null]",
    "[1,2]",
    "[a,,b]",
    "['']",
    "a",
    "[a",
    "[nope]",
]
MAPS = [
    "{}",
    "{m1: 50}",
    "{m1: inf}",
    "{m1: null}",
    "{m1: {x: 1}}",
    "{1: 2}",
    "{nope: 1}",
    "[{}]",
    "{m5: 1e999}",
]
RETRIES = [
    "[{}]",
    "[{selector: phi}]",
    "[{_target_: os.system}]",
    "[1]",
    "[{floor: {m5: nan}}]",
    "[[]]",
    "{a: {}}",
]
SWEEPS = [
    "range(0,0)",
    "range(0,2)",
    "range(0,1e12)",
    "range(0,5,0)",
    "range(a,b)",
    "interval(0,1)",
    "choice()",
    "choice(1,2)",
    "glob(*)",
    "glob([a*,n*],exclude=z*)",
    "shuffle(range(0,100000000000))",
    "sort(1,3,2)",
    "tag(a,b)",
    "1,,2",
    ",",
    "0,1",
]
FLAGS = [
    ["-m"],
    ["-m"],
    ["-m"],
    ["--cfg", "job"],
    ["--cfg", "all", "--resolve"],
    ["--cfg", "job", "-p", "nope"],
    ["--cfg", "job", "-p", "a[b"],
    ["--cfg", "nope"],
    ["-p", "model"],
    ["-m", "--cfg", "job"],
    ["--config-dir", "nowhere"],
    ["--config-dir", "file"],
    ["--config-dir", ""],
    ["--config-dir", "x" * 5000],
    ["--config-dir", "own"],
    ["--config-dir", "own"],
    ["--nope"],
]
STRANGE = [
    "seed",
    "=",
    "=1",
    "seed=",
    ".seed=1",
    "seed..x=1",
    "data.=1",
    "seed[0]=1",
    "seed.x=1",
    "model.model=1",
    "~seed",
    "~nope",
    "~seed=5",
    "+seed=1",
    "+++seed=1",
    "~data",
    "model@x=clip_tiny",
    "+experiment@hydra=tiny",
    "model=[clip_tiny]",
    "data={a: 1}",
    "model=null",
    "experiment=nope",
    "experiment=../config",
    "family=clip",
    "hydra.sweep.dir=elsewhere",
    "hydra.run.dir=elsewhere",
    "hydra.job.chdir=true",
    "+hydra.job.env_set.X=1",
    "+hydra.callbacks.x={_target_: os.getcwd}",
    "hydra/launcher=nope",
    "hydra/launcher=basic",
    "hydra.launcher.n=1",
    "hydra.output_subdir=x",
    "hydra.verbose=true",
    "hydra={}",
    "hydra.searchpath=[file:///tmp]",
    "allow_code=nope",
    "allow_code=os",
    "allow_code=[[a]]",
    "grid=[{seed: [1]}]",
    "grid=[1]",
    "grid=x",
    "jobs=2",
    "dry_run=true",
    "targets=3",
    "method._target_=os.system",
    "method._target_=razor_cli.main.report",
    "data._target_=5",
    "-1",
    "a b=1",
    "é=1",
    "",
]


def command_line(draw: random.Random) -> list[str]:
    """Return one command line: a few words, mostly of settings that there are, and now and then a flag."""
    flags = draw.choice(FLAGS) if draw.random() < 0.45 else []
    chosen = {
        g: draw.choice(o) for g, o in groups([conf_dir()]).items() if g in GROUPS and draw.random() < 0.1
    }
    words = [f"{group}={option}" for group, option in chosen.items()]
    if "own" in flags and draw.random() < 0.8:
        words += [
            draw.choice(
                [f"method={o}" for o in OWN["method"]] + [f"experiment={o}" for o in OWN["experiment"]]
            )
        ]
    for _ in range(draw.choice((0, 1, 1, 2))):
        words.append(draw.choice(STRANGE) if draw.random() < 0.3 else _setting(draw, chosen, "-m" in flags))
    return [*flags, *(w for w in words if not w.startswith("debug="))]  # a traceback is what it asks for


def _setting(draw: random.Random, chosen: Mapping[str, str], sweep: bool) -> str:
    """Return a word that sets one field, found by its type."""
    group = draw.choice(("", *GROUPS))
    kinds = hints(Options) if not group else hints(_class(group, chosen.get(group, _default(group))))
    name = draw.choice(sorted(kinds))
    key = f"{group}.{name}" if group else name
    if draw.random() < 0.05:
        key = key[:-1] + draw.choice("xyz")
    if sweep and draw.random() < 0.4:
        return f"{key}={draw.choice(SWEEPS)}"
    return f"{key}={_value(draw, kinds[name])}"


def _default(group: str) -> str:
    return {"model": "clip_tiny", "metrics": "default", "quantization": "all", "data": "standin"}.get(
        group, {"scenario": "identity", "method": "razor"}.get(group, "")
    )


def _class(group: str, option: str) -> type:
    return locate(settings_of(group, option)["_target_"], PLACES[group], group)


def _value(draw: random.Random, kind: Any) -> str:
    """Return a value in Hydra's words: one of the type, one of another, or one that nobody should give."""
    pools = [*_pools(kind), WORDS, HOSTILE] if draw.random() < 0.8 else [NUMBERS, TEXTS, PATHS, LISTS, MAPS]
    return draw.choice(draw.choice(pools))


def _pools(kind: Any) -> list[list[str]]:
    """Return lists of values for a type, right ones and wrong ones."""
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [[str(m.value) for m in kind], [next(iter(kind)).name, "nope"]]
    if kind in POOLS:
        return POOLS[kind]
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (list, tuple):
        return [RETRIES] if is_dataclass(inner[0]) else [LISTS, LISTS]
    return [MAPS, MAPS] if origin is dict else [pool for arm in inner for pool in _pools(arm)] or [WORDS]


SWITCHES = ["true", "false", "null", "maybe"]
POOLS: dict[Any, list[list[str]]] = {
    Path: [PATHS, PATHS],
    str: [TEXTS, PATHS],
    int: [NUMBERS, NUMBERS],
    float: [NUMBERS, NUMBERS],
    bool: [SWITCHES],
    NoneType: [SWITCHES],
}
