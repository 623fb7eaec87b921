"""How long a job will take and how much memory it needs: from recorded runs like it, else from a count of
passes.

The count: parameters x tokens x pictures x passes gives floating-point operations; one second of matrix
products on this machine says how many of them it does in a second. It is right within a factor of three at
best, and says so.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from razor_cli.config.settings import Experiment, Library, Model, resolved
from razor_cli.grid.points import Job
from razor_cli.runs.provenance import canonical_json, code_version
from razor_cli.runs.records import RunRecord

RECORDED, COUNTED = "recorded runs", "count of passes"
SHARE_OF_PEAK = (
    0.6  # of what plain matrix products reach: what runs of the stand-in reach, seen from the count
)
START_SECONDS = 4.0  # loading, listing, drawing, writing
BASE_MB = 650.0  # the process with its libraries
FORWARD, BOTH = 2, 6  # operations per weight and token: forward, and forward with backward


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds and peak memory in MB (2**20 bytes) of one job, and where they come from."""

    seconds: float
    memory_mb: float
    source: str  # RECORDED | COUNTED


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What the count needs of an image tower: weights, tokens of a picture, width and layers."""

    weights: int
    tokens: int
    width: int
    layers: int


def finished(records: Sequence[RunRecord]) -> frozenset[str]:
    """Return the settings, as text, of the runs that this version of the code computed."""
    code = code_version()
    return frozenset(canonical_json(r.settings) for r in records if r.provenance.code_version == code)


def settings_text(experiment: Experiment) -> str:
    """Return the settings of an experiment as `finished` writes them; own pictures may have changed since a
    run.
    """
    return canonical_json(json.loads(canonical_json(resolved(experiment))))


def estimate(job: Job, records: Sequence[RunRecord]) -> Estimate:
    """Return what a job will cost: the mean of the recorded runs most like it, else the count."""
    like = _alike(job.experiment, records)
    if like:
        seconds, memory = (
            sum(v) / len(like)
            for v in zip(*((r.cost.run_seconds, r.cost.peak_rss_mb) for r in like), strict=True)
        )
        return Estimate(seconds=seconds, memory_mb=memory, source=RECORDED)
    return counted(job)


def _alike(experiment: Experiment, records: Sequence[RunRecord]) -> list[RunRecord]:
    """Return runs of the same method and model with sets of the same size, narrowed to the most similar ones
    there are.
    """
    wanted = json.loads(canonical_json(resolved(experiment)))
    own = (
        experiment.method.name,
        experiment.model.name,
        experiment.data.label(experiment.scenario.pictures.value),
    )
    found = [r for r in records if (r.method, r.model, r.data) == own]
    found = [r for r in found if _sizes(r.settings) == _sizes(wanted)]
    for key in ("scenario", "quantization", "control", "method"):
        found = [r for r in found if r.settings.get(key) == wanted.get(key)] or found
    return found


def _sizes(settings: Any) -> dict[str, object]:
    data = settings.get("data")
    return {k: v for k, v in data.items() if k.startswith("n_")} if isinstance(data, dict) else {}


def counted(job: Job) -> Estimate:
    """Return the count for one job: gradient passes or epochs, trials of a search, and the evaluation of
    every state.
    """
    e, shape = job.experiment, shape_of(job.experiment.model)
    n = job.pictures or e.data.at_most
    seen, tried = n["forget"] + n["retain"], n["validation_forget"] + n["validation_retain"]
    judged = (
        n["evaluation_forget"] + n["evaluation_retain"] + len(e.scenario.suites) * e.data.at_most["suite"]
    )
    knobs = {
        k: v for k, v in vars(e.method).items() if isinstance(v, int | float) and not isinstance(v, bool)
    }
    epochs = knobs.get("epochs", 1) + (knobs.get("grow_rounds", 0) / 2 if knobs.get("search_steps") else 0)
    trials = knobs.get("search_steps", 0) * (knobs.get("max_components", 8) + knobs.get("grow_rounds", 0))
    states = (3 if e.control else 2) * len({"none", *e.quantization.schemes})
    per_picture = shape.weights * shape.tokens
    operations = per_picture * (BOTH * epochs * seen + FORWARD * (trials * tried / 2 + states * judged))
    seconds = START_SECONDS + operations / (SHARE_OF_PEAK * speed(e.model.device.value, e.jobs))
    batch = min(seen, 128)
    kept = batch * shape.tokens * shape.width * shape.layers * 4 * 20  # activations for the backward pass
    weights = (
        4 * 1.6 * shape.weights * (5 if "epochs" in knobs else 3)
    )  # the text tower, gradients, optimizer, the base
    return Estimate(seconds=seconds, memory_mb=BASE_MB + (kept + weights) / 2**20, source=COUNTED)


def speed(device: str, processes: int) -> float:
    """Return floating-point operations in a second for one of several processes that share the machine."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return operations_per_second("cuda") / processes
    return operations_per_second("cpu") * max(1, (os.cpu_count() or 1) // processes)


@cache
def operations_per_second(place: str) -> float:
    """Return the floating-point operations of matrix products in a second of a GPU or of one core, measured
    over one second.

    The core's second is one that this process had: other work on the machine does not make jobs look longer.
    """
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


def shape_of(model: Model) -> Shape:
    """Return the image tower's shape, from the configuration beside the weights or the library's own; no
    weights are read.
    """
    if model.library is Library.STAND_IN:
        from razor_cli.families.clip.standins import DEFAULT, stand_in_folder

        vision = json.loads((stand_in_folder(DEFAULT) / f"{DEFAULT}.json").read_text())["vision_cfg"]
    elif model.library is Library.HF:
        from pathlib import Path

        config = json.loads((Path(str(model.weights)).expanduser() / "config.json").read_text())[
            "vision_config"
        ]
        vision = {"width": config["hidden_size"], "layers": config["num_hidden_layers"], **config}
    else:
        import open_clip

        vision = (open_clip.get_model_config(model.full_architecture) or {}).get("vision_cfg", {})
    width, layers = vision.get("width", 768), vision.get("layers", 12)
    layers = (
        sum(layers) if isinstance(layers, list) else layers
    )  # residual networks count their blocks by stage
    patch = vision.get("patch_size") or 32
    tokens = (vision.get("image_size", 224) // patch) ** 2 + 1
    return Shape(weights=12 * layers * width * width, tokens=tokens, width=width, layers=layers)


def missing_weights(model: Model) -> str:
    """Return what is missing before the model can be loaded without a network, or nothing."""
    if model.library is not Library.OPEN_CLIP or model.weights is None:
        return "" if model.library is not Library.OPEN_CLIP else f"model.weights of model={model.name}"
    from pathlib import Path

    if Path(model.weights).expanduser().exists():
        return ""
    import open_clip

    known = open_clip.get_pretrained_cfg(model.full_architecture, model.weights) or {}
    if known and _cached(known):
        return ""
    return (
        f"weights '{model.weights}' of model={model.name} are not on this machine: fetched when the "
        "first job starts, "
        "which needs the network, or give model.weights=FILE"
    )


def _cached(known: dict[str, Any]) -> bool:
    """Tell whether the hub's cache, or open_clip's own, has a released checkpoint."""
    from pathlib import Path

    from huggingface_hub import try_to_load_from_cache

    name = Path(str(known.get("url", ""))).name
    if name and (Path("~/.cache/clip").expanduser() / name).is_file():
        return True
    repo, _, file = str(known.get("hf_hub", "")).rpartition("/")
    files = (
        [file]
        if file
        else [
            "open_clip_model.safetensors",
            "open_clip_pytorch_model.safetensors",
            "open_clip_pytorch_model.bin",
        ]
    )
    return bool(repo) and any(isinstance(try_to_load_from_cache(repo, f), str) for f in files)
