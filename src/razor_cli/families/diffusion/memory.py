"""What a pipeline needs of memory and time, counted from its files and settings before anything is loaded.
Imports no torch until a speed is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.contract.spec import Estimate, Work
from razor_cli.engine.estimate import BASE_MB, BOTH, COUNTED, FORWARD, START_SECONDS, speed
from razor_cli.errors import ConfigError
from razor_cli.families.diffusion.files import T5, Part, PipelineFiles
from razor_cli.families.diffusion.kinds import Kind, Sampler
from razor_cli.weights.header import read_header

MIB, GIB = 2**20, 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
UNET_MAPS = 650  # feature maps of the first width that a UNet with two blocks a level keeps for its gradient
BLOCK_MAPS = 24  # token maps that a block of a transformer keeps
DRAWN_MAPS = {
    Kind.SD15: 30,
    Kind.SD3: 12,
}  # that drawing holds at once, of the first width
DECODED_MAPS = 4  # maps at the side of a picture that the VAE holds, one picture at a time
LEVEL_SHARE = 3  # two more levels of a UNet: weights lie where it is coarser, and are used a third as often
WORDS = 77
SMALL = 2 * GIB  # what needs less is no reason to speak of what helps
GPUS = ("nvidiactl", "dxg", "kfd", "nvhost-gpu")  # of NVIDIA, under Windows, of AMD, of Jetson


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that a pipeline takes: its weights in the dtype they are computed with, one gradient pass, and
    beside it, at another time, drawing with and without the prompt.
    """

    weights: int
    t5: int  # of these
    passes: int
    drawn: int  # for each picture that is drawn at once
    decoded: int

    @property
    def total(self) -> int:
        """Return what an edit takes, the process included."""
        return int(BASE_MB * MIB) + self.weights + self.passes

    def drawing(self, batch: int) -> int:
        """Return what drawing so many pictures at once takes, the process included."""
        return int(BASE_MB * MIB) + self.weights + max(batch * self.drawn, self.decoded)


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
        drawn=2 * size * _drawn(files),
        decoded=size * _decoded(files),
    )


def what_helps(need: Need, told: Mapping[str, Any]) -> list[str]:
    """Return what takes less memory than the settings `told`."""
    helps = []
    if told["dtype"] == "float32":
        helps.append("model.dtype=bfloat16 halves it")
    if told["batch"] > 1 or not told["checkpointing"]:
        helps.append("model.batch=1 model.checkpointing=true keep less for gradients")
    if need.t5:
        helps.append(f"model.t5=off saves {_bytes(need.t5)}")
    return helps


def check_memory(
    files: PipelineFiles, need: Need, free: int | None, place: str, *, told: Mapping[str, Any]
) -> None:
    """Raise ConfigError where a pipeline needs more than is `free`; the settings `told` say what helps."""
    if free is None or need.total <= free:
        return
    raise ConfigError(
        f"model.weights: '{files.source}' needs more memory than {place} has free",
        allowed=_bytes(free),
        found=f"about {_worded(need, told)}",
        fix="; ".join(what_helps(need, told)) or "close what else runs, or take a larger machine",
    )


def memory_note(name: str, need: Need, free: int | None, *, told: Mapping[str, Any], batch: int) -> str:
    """Return what a model takes before it is loaded; what helps, where it is no small part of what is
    `free`, or nobody knows how much that is.
    """
    most = max(need.total, need.drawing(batch))
    drawing = f"drawing {batch} pictures at once {_bytes(need.drawing(batch))} in all"
    note = f"memory of {name}: about {_worded(need, told)}; {drawing}"
    note += f"; {_bytes(free)} are free" if free is not None else ""
    if most < SMALL or (free is not None and 2 * most < free):
        return note
    helps = what_helps(need, told)
    if free is not None and need.drawing(batch) > free:
        note += ", which does not hold it"
        if fits := next((n for n in powers_below(batch) if need.drawing(n) <= free), 0):
            helps = [f"metrics.batch={fits} fits", *helps]
    elif batch > 1:
        helps = [*helps, "metrics.batch=1 draws one at a time"]
    return f"{note}. Less: {'; '.join(helps)}" if helps else note


def powers_below(batch: int) -> Iterator[int]:
    """Yield the powers of two below a number, the largest first."""
    yield from (1 << n for n in reversed(range((batch - 1).bit_length())))


def _worded(need: Need, told: Mapping[str, Any]) -> str:
    parts = f"weights {_bytes(need.weights)}, a gradient pass {_bytes(need.passes)}"
    return f"{_bytes(need.total)} in {told['dtype']}: {parts}"


def _bytes(count: int) -> str:
    return f"{count / GIB:.1f} GB" if count >= GIB else f"{count / MIB:.0f} MB"


def without_gpu(devices: Path = Path("/dev")) -> bool:
    """Tell whether this machine has no GPU for certain; torch is not asked, which takes a second."""
    return devices.is_dir() and not any((devices / name).exists() for name in GPUS)


def cost(files: PipelineFiles, work: Work, need: Need, device: str, sampler: Sampler) -> Estimate:
    """Return what a job costs: gradients through net and encoder, pictures of trials and of evaluations, each
    drawn in steps with and without the prompt.
    """
    net = files.parts["unet" if files.kind is Kind.SD15 else "transformer"]
    each = numbers_in(net) * _uses(files)
    drawn = sampler.steps * (2 if sampler.guidance > 1 else 1)
    pictures = work.trials * work.tried / 2 + work.states * work.judged + work.attacks * work.asked
    seen = work.epochs * work.seen + work.attacks * work.learnt
    operations = each * (BOTH * seen + FORWARD * drawn * pictures)
    seconds = START_SECONDS + operations / speed(device, work.processes)
    most = max(need.total, need.drawing(sampler.batch))
    return Estimate(seconds=seconds, memory_mb=most / MIB, source=COUNTED)


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
    if files.kind is not Kind.SD15:
        return _tokens(files)
    levels = len(files.parts["unet"].config.get("block_out_channels", [1] * 4))
    return float(_positions(files) / LEVEL_SHARE ** (levels / 2))


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
    return int(_tokens(files) * _width(files) * BLOCK_MAPS * _blocks(files))


def _width(files: PipelineFiles) -> int:
    config = files.parts["transformer"].config
    return int(config.get("num_attention_heads", 18) * config.get("attention_head_dim", 64))


def _drawn(files: PipelineFiles) -> int:
    """Return how many numbers drawing one picture holds in the net at once."""
    maps = DRAWN_MAPS[files.kind]
    if files.kind is Kind.SD15:
        return int(_positions(files) * files.parts["unet"].config.get("block_out_channels", [320])[0] * maps)
    return int(_tokens(files) * _width(files) * maps)


def _decoded(files: PipelineFiles) -> int:
    """Return how many numbers the VAE holds at once while it decodes one picture."""
    widths = files.parts["vae"].config.get("block_out_channels", [128, 256, 512, 512])
    side = 2 ** (len(widths) - 1)
    return int(_positions(files) * side**2 * widths[min(1, len(widths) - 1)] * DECODED_MAPS)
