"""What tests/golden freezes, computed anew: edits as sketches, a run's scores, a patch with its undo file."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import platform
import re
import zlib
from collections.abc import Mapping
from contextlib import redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch as patched

import numpy as np
import tiny_world
import torch
from torch import Tensor

GOLDEN = Path(__file__).parent / "golden"
EDITS, SCORES, MACHINES = GOLDEN / "edits.json.gz", GOLDEN / "scores.csv", GOLDEN / "machines.json"
DIRECTIONS = 4  # random unit vectors that a sketch looks along
SMALL_RUN = (
    "experiment=tiny",
    "quantization=all",
    "scenario=identity",
    "method=razor",
    "method.retries=[]",
    "seed=0",
    "threads=1",
    "data.n_forget=8",
    "data.n_retain=32",
    "data.n_validation_forget=8",
    "data.n_validation_retain=32",
    "data.n_evaluation_forget=8",
    "data.n_evaluation_retain=32",
    "data.n_suite=20",
)


def machine() -> dict[str, str]:
    """Return what the last bits of a sum depend on."""
    try:
        found = re.search(
            r"^model name\s*:\s*(.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE
        )
    except OSError:
        found = None
    cpu = found[1] if found else platform.processor()
    return {"torch": torch.__version__, "cpu": cpu, "kernels": torch.backends.cpu.get_cpu_capability()}


def same_machine(file: Path) -> bool:
    """Tell whether a golden file was computed with this torch on such a processor, so that its bits must come
    out again.
    """
    return json.loads(MACHINES.read_text(encoding="utf-8"))[file.name] == machine()


# edits


def digest(value: Tensor) -> str:
    """Return 16 hex digits of the SHA-256 of a tensor's bytes."""
    return hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()[:16]


@cache
def directions(name: str, size: int) -> np.ndarray:
    """Return the unit vectors [DIRECTIONS, size] of the tensor `name`."""
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(
        (DIRECTIONS, size)
    )  # a stream that stays the same
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def settled(name: str, value: Tensor) -> Tensor:
    """Return a tensor in fp64 with zeros for the keys' biases of an attention.

    They add the same to every key's score, so no loss depends on them: their gradients are rounding errors,
    and whatever divides by a gradient's size makes noise of them.
    """
    exact = value.double().clone()
    if name.endswith("attn.in_proj_bias"):
        exact.chunk(3)[1].zero_()
    return exact


def sketch(name: str, value: Tensor, base: Tensor) -> list[float]:
    """Return the norm of a change, and its parts along the tensor's unit vectors."""
    flat = (settled(name, value) - settled(name, base)).numpy().reshape(-1)
    return [float(f"{x:.10g}") for x in (np.linalg.norm(flat), *(directions(name, flat.size) @ flat))]


def edit_record(preset: str) -> dict[str, Any]:
    """Run a preset on the taught tiny model, stored in fp32, and return what of its edit is frozen."""
    found = tiny_world.facts(preset)
    return {
        "components": found.components,
        "steps": [list(step) for step in found.steps],
        "cost": found.cost,
        "hashes": {n: digest(v) for n, v in found.values.items()},
        "sketches": {n: sketch(n, v, found.base[n]) for n, v in found.values.items()},
    }


def distance(one: Mapping[str, list[float]], other: Mapping[str, list[float]]) -> float:
    """Return the largest difference between sketches of the same tensors, over the change's norm where that
    is above 1.
    """
    pairs = [(np.array(one[n]), np.array(other[n])) for n in one]
    return max((float(np.abs(a - b).max() / max(1.0, a[0])) for a, b in pairs), default=0.0)


def tolerance(record: Mapping[str, Any]) -> float:
    """Return how far an equal edit's sketch may lie from the frozen one, where sums are rounded in another
    way.

    `spread` is how far it lay when the same edit was computed with other kernels. Of a tiny edit a hundredth
    must fit.
    """
    largest = max((s[0] for s in record["sketches"].values()), default=0.0)
    return max(min(1e-6, largest / 100), 10 * record["spread"])


@cache
def frozen_edits() -> dict[str, dict[str, Any]]:
    """Return the frozen edit of every method, by the method's name."""
    return json.loads(gzip.decompress(EDITS.read_bytes()))


# a run


def scores(folder: Path) -> list[list[str]]:
    """Run RAZOR on the embedded model and few pictures; return the rows of its scores.csv in the columns of
    format 1, without the run's id, header first.
    """
    from razor_cli.main import run_command
    from razor_cli.runs.rows import FORMER_COLUMNS

    places = {"RAZOR_CACHE": str(folder / "cache"), "RAZOR_DATA_DIR": str(folder / "data"), "COLUMNS": "140"}
    with patched.dict(os.environ, places), redirect_stdout(io.StringIO()):
        assert run_command([*SMALL_RUN, f"output_dir={folder / 'outputs'}"]) == 0
    [written] = (folder / "outputs").rglob("scores.csv")
    rows = read_csv(written)
    kept = [rows[0].index(name) for name in FORMER_COLUMNS if name != "run_id"]
    return [[row[i] for i in kept] for row in rows]


def read_csv(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file as text, header first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


# a patch


def patch_file(version: str, kind: str) -> Path:
    """Return where the `patch` or `undo` file written by a version lies, or the `json` about them."""
    number = version.replace(".", "")
    return GOLDEN / (f"patch_v{number}.json" if kind == "json" else f"{kind}_v{number}.safetensors")


def write_base(path: Path) -> Path:
    """Write the weights file that the frozen patches belong to: the taught tiny model in fp16."""
    from safetensors.torch import save_file

    save_file(tiny_world.stored(), path)
    return path


def content(path: Path) -> str:
    """Return the SHA-256 over names, dtypes, shapes and bytes of all tensors of a safetensors file."""
    from safetensors.torch import load_file

    whole = hashlib.sha256()
    for name, value in sorted(load_file(path).items()):
        whole.update(f"{name} {value.dtype} {list(value.shape)}\n".encode())
        whole.update(value.contiguous().numpy().tobytes())
    return whole.hexdigest()
