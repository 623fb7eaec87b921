"""Folders of tiny LLaVAs with something changed in them, and what is said of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from tiny_llava import tiny_companion, tiny_llava, tiny_llava_next

from razor_cli.contract.choices import Device
from razor_cli.families.llava.spec import LlavaSpec


def both(root: Path) -> Path:
    """Write a LLaVA and a LLaVA-NeXT with their CLIPs into a folder; return it."""
    tiny_companion(tiny_llava(root / "plain"), root / "plain_clip")
    tiny_companion(tiny_llava_next(root / "next"), root / "next_clip")
    return root


def told(folder: Path, **settings: Any) -> str:
    """Return everything that is wrong with a folder, as it is told before any weight is read."""
    spec = LlavaSpec(weights=str(folder), stand_in=False, **({"device": Device.CPU} | settings))
    return "\n".join(f"{p.what} | {p.allowed} | {p.found} | {p.fix}" for p in spec.problems())


def copied(folder: Path, target: Path) -> Path:
    shutil.copytree(folder, target)
    shutil.copytree(folder.with_name(f"{folder.name}_clip"), target.with_name(f"{target.name}_clip"))
    return target


def spoil_json(folder: Path, name: str, **changes: Any) -> None:
    said = json.loads((folder / name).read_text())
    said |= changes
    (folder / name).write_text(json.dumps({k: v for k, v in said.items() if v is not None}))


def spoil_tensors(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


def sharded(folder: Path, count: int = 3) -> Path:
    """Put the weights of a folder into that many shards, with an index; return the folder."""
    state = load_file(folder / "model.safetensors")
    files = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    homes = {n: files[i * count // len(state)] for i, n in enumerate(state)}
    for file in sorted(set(homes.values())):
        part = {n: state[n] for n, home in homes.items() if home == file}
        save_file(part, folder / file, metadata={"format": "pt"})
    total = sum(v.nbytes for v in state.values())
    told = {"metadata": {"total_size": total}, "weight_map": homes}
    (folder / "model.safetensors.index.json").write_text(json.dumps(told))
    (folder / "model.safetensors").unlink()
    return folder
