"""Yaml files of a folder given by --config-dir: bombs, circles, hooks, what is no yaml, and a good one."""

from __future__ import annotations

from pathlib import Path

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
