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
