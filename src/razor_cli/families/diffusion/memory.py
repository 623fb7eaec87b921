"""What a pipeline needs of memory and time, counted from its files and settings before anything is loaded.
Imports no torch until a speed is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.contract.spec import Estimate, Work
from razor_cli.engine.estimate import BASE_MB, BOTH, COUNTED, FORWARD, SHARE_OF_PEAK, START_SECONDS, speed
from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.files import T5, Part, PipelineFiles
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.weights.header import read_header

MIB, GIB = 2**20, 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
UNET_MAPS = 650  # feature maps of the first width that a UNet with two blocks a level keeps for its gradient
BLOCK_MAPS = 24  # token maps that a block of a transformer keeps
UNET_SHARE = 9  # positions of a latent for one use of every weight of a UNet: most lie where it is coarse
WORDS = 77


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that a pipeline takes: its weights in the dtype they are computed with, and one gradient pass."""

    weights: int
    t5: int  # of these
    passes: int

    @property
    def total(self) -> int:
        """Return all of it, the process included."""
        return int(BASE_MB * MIB) + self.weights + self.passes


def numbers_in(part: Part) -> int:
    """Return how many numbers a component's weights are; files that are no safetensors count as float32."""
    if part.renamed is not None:
        header = read_header(part.files[0])
        return sum(header[name].numel for name in part.renamed.values())
    found = 0
    for file in part.files:
        plain = file.suffix == ".safetensors"
        found += sum(e.numel for e in read_header(file).values()) if plain else file.stat().st_size // 4
    return found


def needed(files: PipelineFiles, dtype: str, *, batch: int, checkpointing: bool) -> Need:
    """Return what a pipeline needs to be loaded and to take gradients of `batch` pictures at once."""
    size = BYTES[dtype]
    counts = {name: numbers_in(part) for name, part in files.parts.items()}
    trained = sum(counts[name] for name in files.encoders())
    kept = _kept(files) * size * batch
    return Need(
        weights=size * sum(counts.values()),
        t5=size * counts.get(T5, 0),
        passes=int(kept / (_blocks(files) ** 0.5 if checkpointing else 1)) + 2 * size * trained,
    )


def check_memory(
    files: PipelineFiles, need: Need, free: int | None, place: str, *, told: Mapping[str, Any]
) -> None:
    """Raise WeightsError where a pipeline needs more than is `free`; the settings `told` say what helps."""
    if free is None or need.total <= free:
        return
    helps = []
    if told["dtype"] == "float32":
        helps.append("model.dtype=bfloat16 halves it")
    if told["batch"] > 1 or not told["checkpointing"]:
        helps.append("model.batch=1 model.checkpointing=true keep less for gradients")
    if need.t5:
        helps.append(f"model.t5=off saves {need.t5 / GIB:.1f} GB")
    parts = f"weights {need.weights / GIB:.1f} GB, a gradient pass {need.passes / GIB:.1f} GB"
    raise WeightsError(
        f"model.weights: '{files.source}' needs more memory than {place} has free",
        allowed=f"{free / GIB:.1f} GB",
        found=f"about {need.total / GIB:.1f} GB in {told['dtype']}: {parts}",
        fix="; ".join(helps) or "close what else runs, or take a larger machine",
    )


def free_memory(proc: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Return the bytes that this process may still take, by the system and by a container's limit; None where
    neither tells.
    """
    found = []
    with suppress(OSError, ValueError, IndexError):
        lines = proc.read_text(encoding="utf-8").splitlines()
        found.append(1024 * int(next(x for x in lines if x.startswith("MemAvailable:")).split()[1]))
    with suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text(encoding="utf-8"))
        found.append(max(0, limit - int((group / "memory.current").read_text(encoding="utf-8"))))
    return min(found, default=None)


def cost(files: PipelineFiles, work: Work, need: Need, device: str, sampler: Sampler) -> Estimate:
    """Return what a job costs: gradients through net and encoder, pictures of trials and of evaluations, each
    drawn in steps with and without the prompt.
    """
    net = files.parts["unet" if files.kind is Kind.SD15 else "transformer"]
    each = numbers_in(net) * _uses(files)
    drawn = sampler.steps * (2 if sampler.guidance > 1 else 1)
    pictures = work.trials * work.tried / 2 + work.states * work.judged
    operations = each * (BOTH * work.epochs * work.seen + FORWARD * drawn * pictures)
    seconds = START_SECONDS + operations / (SHARE_OF_PEAK * speed(device, work.processes))
    return Estimate(seconds=seconds, memory_mb=need.total / MIB, source=COUNTED)


def _positions(files: PipelineFiles) -> int:
    """Return the positions of a latent of the model's own size."""
    size = files.parts["unet" if files.kind is Kind.SD15 else "transformer"].config.get("sample_size") or 64
    height, width = (size, size) if isinstance(size, int) else size
    return int(height * width)


def _tokens(files: PipelineFiles) -> int:
    patch = files.parts["transformer"].config.get("patch_size", 2)
    return _positions(files) // patch**2 + WORDS


def _uses(files: PipelineFiles) -> float:
    """Return how often a weight of the net is used in one pass."""
    return _positions(files) / UNET_SHARE if files.kind is Kind.SD15 else _tokens(files)


def _blocks(files: PipelineFiles) -> int:
    """Return the blocks that gradient checkpointing keeps the beginnings of."""
    if files.kind is Kind.SD15:
        config = files.parts["unet"].config
        return 2 * len(config.get("block_out_channels", [1])) * (_layers(config) + 1)
    return max(1, int(files.parts["transformer"].config.get("num_layers", 18)))


def _layers(config: Mapping[str, Any]) -> int:
    layers = config.get("layers_per_block", 2)
    return max(layers) if isinstance(layers, list) else int(layers)


def _kept(files: PipelineFiles) -> int:
    """Return how many numbers one picture keeps in the net for its gradient."""
    if files.kind is Kind.SD15:
        config = files.parts["unet"].config
        width = config.get("block_out_channels", [320])[0]
        return int(_positions(files) * width * UNET_MAPS * (2 * _layers(config) + 1) / 5)
    config = files.parts["transformer"].config
    width = config.get("num_attention_heads", 18) * config.get("attention_head_dim", 64)
    return int(_tokens(files) * width * BLOCK_MAPS * _blocks(files))
