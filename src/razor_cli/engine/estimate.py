"""A count of passes: what a job costs where no recorded run is like it.

Weights x tokens x examples x passes gives floating-point operations; matrix products on this machine,
measured once, say how many of them it does in a second. It is right within a factor of three at best, and
says so.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec

from razor_cli.contract.spec import Estimate, Work
from razor_cli.runs.remembered import remember

COUNTED = "count of passes"
SHARE_OF_PEAK = {  # of what plain matrix products reach: what runs of the stand-in reach, seen from the count
    "cpu": 0.4,
    "cuda": 0.6,
}
SIDE = 64  # of the matrices that a core multiplies: so small ones are not spread over several
CORE_SECONDS = 0.2  # measured over so long
START_SECONDS = 4.0  # loading, listing, drawing, writing
BASE_MB = 650.0  # the process with its libraries
GPU_FILES = ("/dev/nvidiactl", "/dev/dxg", "/dev/kfd")  # one of them is there where torch can have a GPU
FORWARD, BOTH = 2, 6  # operations per weight and token: forward, and forward with backward


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the count needs of an encoder: weights, tokens of an example, width and layers."""

    weights: int
    tokens: int
    width: int
    layers: int


def counted(shape: Shape, work: Work, device: str) -> Estimate:
    """Return the count for one job: gradient passes or epochs, trials of a search, and the evaluation of
    every state.
    """
    per_example = shape.weights * shape.tokens
    # A trial encodes the blocks from the changed one on, and where it is lost half of the pictures; a tower
    # that an edit left alone is encoded for one state in three, and half of the edits leave this one alone.
    judged = FORWARD * (work.trials * work.tried / 4 + work.states * work.judged * 2 / 3)
    operations = per_example * (BOTH * work.epochs * work.seen + judged)
    seconds = START_SECONDS + operations / speed(device, work.processes)
    batch = min(work.seen, 128)
    kept = batch * shape.tokens * shape.width * shape.layers * 4 * 20  # activations for the backward pass
    weights = (
        4 * 1.6 * shape.weights * (5 if work.trained else 3)
    )  # text tower, gradients, optimizer, the base
    return Estimate(seconds=seconds, memory_mb=BASE_MB + (kept + weights) / 2**20, source=COUNTED)


def speed(device: str, processes: int) -> float:
    """Return floating-point operations in a second of a run, for one of several processes that share the
    machine.
    """
    if device != "cpu" and _has_gpu():
        return SHARE_OF_PEAK["cuda"] * operations_per_second("cuda") / processes
    cores = max(1, (os.cpu_count() or 1) // processes)
    return SHARE_OF_PEAK["cpu"] * operations_per_second("cpu") * cores


@cache
def _has_gpu() -> bool:
    """Tell whether torch has a GPU here; it is not loaded to be asked where the system has none for it."""
    if sys.platform == "linux" and not any(map(os.path.exists, GPU_FILES)):
        return False
    import torch

    return bool(torch.cuda.is_available())


@cache
def operations_per_second(place: str) -> float:
    """Return the floating-point operations of matrix products in a second of a GPU or of one core, measured
    once, and remembered for this machine and this version of the library that multiplied.

    A core is measured without torch, which takes longer to load than a plan may take.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "") if place == "cuda" else ""
    kind = f"speed 2 {place} {seen} {platform.node()} {platform.machine()} {os.cpu_count()}"
    measured, library = (_of_gpu, "torch") if place == "cuda" else (_of_core, "numpy")
    found = find_spec(library)
    return float(remember(kind, [(found and found.origin) or ""], lambda: repr(measured())))


def _of_core() -> float:
    """Return the operations in a second that this thread had: other work on the machine does not make jobs
    look longer.
    """
    import numpy as np

    a = np.random.default_rng(0).standard_normal((16, SIDE, SIDE), dtype=np.float32)
    out = np.matmul(a, a)
    began, count = time.thread_time(), 0
    while (passed := time.thread_time() - began) < CORE_SECONDS:
        np.matmul(a, a, out=out)
        count += len(a)
    return 2 * SIDE**3 * count / passed


def _of_gpu() -> float:
    import torch

    a = torch.randn(512, 512, device="cuda")
    began, count = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < 1.0:
        a = (a @ a).tanh()
        count += 1
        torch.cuda.synchronize()
    return 2 * 512**3 * count / passed
