"""Command lines of `razor-run` drawn by chance from the schemas' own types: right, wrong and hostile ones."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import is_dataclass
from enum import Enum
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

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
        g: draw.choice(o) for g, o in groups([conf_dir()]).items() if g in GROUPS and draw.random() < 0.25
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
    return [*flags, *words]


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
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [[str(m.value) for m in kind], [next(iter(kind)).name, "nope"]]
    if kind is Path:
        return [PATHS, PATHS]
    if kind is str:
        return [TEXTS, PATHS]
    if kind in (int, float):
        return [NUMBERS, NUMBERS]
    if kind in (bool, NoneType):
        return [["true", "false", "null", "maybe"]]
    inner = get_args(kind)
    if get_origin(kind) in (list, tuple):
        return [RETRIES] if is_dataclass(inner[0]) else [LISTS, LISTS]
    if get_origin(kind) is dict:
        return [MAPS, MAPS]
    return [pool for arm in inner for pool in _pools(arm)] or [WORDS]


OWN = {  # files of a folder given by --config-dir, by group
    "method": {
        "bomb": "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(
            f"{c}: &{c} [{','.join([f'*{b}'] * 9)}]\n" for b, c in zip("abcdefg", "bcdefgh", strict=True)
        ),
        "circle": "a: &a [*a]\n",
        "tagged": "a: !!python/object/apply:os.getcwd []\n",
        "no_yaml": "a: [1,\n",
        "two": "a: 1\na: 2\n",
        "text": "just text\n",
        "list": "- a\n- b\n",
        "empty": "",
        "binary": "\x00\x01",
        "deep": "a: " + "[" * 200 + "]" * 200 + "\n",
        "env": "_target_: razor_cli.methods.none.NoneEdit\nname: ${oc.env:HOME}\n",
        "secret_choice": "defaults:\n  - /method: ${oc.env:HOME}\n",
        "outside": "defaults:\n  - ../../outside\n",
        "itself": "defaults:\n  - itself\n",
        "names_itself": "_target_: razor_cli.methods.none.NoneEdit\nname: ${method.name}\n",
        "grows": "_target_: razor_cli.methods.none.NoneEdit\na0: xxxxxxxxxx\n"
        + "".join(f"a{i + 1}: [{', '.join([f'${{method.a{i}}}'] * 9)}]\n" for i in range(12)),
        "date": "_target_: razor_cli.methods.none.NoneEdit\nname: 2020-13-45\n",
        "calls": "_target_: os.getcwd\n",
        "odd_defaults": "defaults: [1, {}, null, [a]]\n",
        "odd_keys": "1: a\nnull: b\ntrue: c\n",
        "header": "# @package hydra.callbacks\nx: {_target_: os.getcwd}\n",
        "good": "defaults:\n  - none\n  - _self_\nname: good\n",
    },
    "experiment": {
        "hooks": "# @package _global_\nhydra:\n  callbacks: {x: {_target_: os.getcwd}}\n",
        "chdir": "# @package _global_\nhydra: {job: {chdir: true}}\n",
        "launcher": "# @package _global_\ndefaults:\n  - override /hydra/launcher: basic\n",
        "seeds": "# @package _global_\ngrid:\n  - {seed: [0, 1], method: [none]}\n",
        "bad_grid": "# @package _global_\ngrid: [1]\n",
        "odd_grid": "# @package _global_\ngrid:\n  - {seed: [{}, [1]], target: [null]}\n",
        "env_grid": "# @package _global_\ngrid:\n  - {target: ['${oc.env:HOME}']}\n",
        "plan": "# @package _global_\ndry_run: true\n",
    },
}


def lay_out(folder: Path) -> None:
    """Write what the command lines name into an empty working folder."""
    (folder / "file").write_text("x")
    (folder / "dangling").symlink_to(folder / "gone")
    for group, files in OWN.items():
        (folder / "own" / group).mkdir(parents=True)
        for name, text in files.items():
            (folder / "own" / group / f"{name}.yaml").write_text(text)
