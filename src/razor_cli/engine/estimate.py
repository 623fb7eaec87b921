"""A count of passes: what a job costs where no recorded run is like it.

Weights x tokens x examples x passes gives floating-point operations; one second of matrix products on this
machine, measured once, says how many of them it does in a second. It is right within a factor of three at
best, and says so.
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
SHARE_OF_PEAK = (
    0.6  # of what plain matrix products reach: what runs of the stand-in reach, seen from the count
)
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
    judged = FORWARD * (work.trials * work.tried / 2 + work.states * work.judged)
    operations = per_example * (BOTH * work.epochs * work.seen + judged)
    seconds = START_SECONDS + operations / (SHARE_OF_PEAK * speed(device, work.processes))
    batch = min(work.seen, 128)
    kept = batch * shape.tokens * shape.width * shape.layers * 4 * 20  # activations for the backward pass
    weights = (
        4 * 1.6 * shape.weights * (5 if work.trained else 3)
    )  # text tower, gradients, optimizer, the base
    return Estimate(seconds=seconds, memory_mb=BASE_MB + (kept + weights) / 2**20, source=COUNTED)


def speed(device: str, processes: int) -> float:
    """Return floating-point operations in a second for one of several processes that share the machine."""
    if device != "cpu" and _has_gpu():
        return operations_per_second("cuda") / processes
    return operations_per_second("cpu") * max(1, (os.cpu_count() or 1) // processes)


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
    over one second, and remembered for this machine and this torch.

    The core's second is one that this process had: other work on the machine does not make jobs look longer.
    """
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "") if place == "cuda" else ""
    kind = f"speed 1 {place} {seen} {platform.node()} {platform.machine()} {os.cpu_count()}"
    found = find_spec("torch")
    return float(remember(kind, [(found and found.origin) or ""], lambda: repr(_measured(place))))


def _measured(place: str) -> float:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        a = torch.randn(512, 512, device=place)
        had, started, count = time.thread_time(), time.perf_counter(), 0
        while (passed := time.perf_counter() - started) < 1.0:
            a = (a @ a).tanh()
            count += 1
            if place == "cuda":
                torch.cuda.synchronize()
        return 2 * 512**3 * count / (passed if place == "cuda" else time.thread_time() - had)
    finally:
        torch.set_num_threads(threads)
