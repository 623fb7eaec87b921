"""What a LLaVA needs of memory and time, counted from its files and settings before anything is loaded.
Imports no torch until a speed is asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from razor_cli.config.amounts import worded
from razor_cli.contract.spec import Estimate, Work
from razor_cli.engine.estimate import BASE_MB, BOTH, COUNTED, FORWARD, START_SECONDS, speed
from razor_cli.errors import WeightsError
from razor_cli.families.diffusion.memory import powers_below
from razor_cli.families.llava.files import LlavaFiles
from razor_cli.families.llava.kinds import Language, Variant
from razor_cli.families.llava.names import HEAD, LANGUAGE, canonical
from razor_cli.weights.header import read_header

MIB, GIB = 2**20, 2**30
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
BLOCK_MAPS = 20  # token maps of a layer that a gradient pass keeps
WORDS = 64  # tokens of a question with its answer
ASKED = 2  # questions about each picture of a gradient pass
SHARED = 4  # questions about one picture, which are looked at together
TILES = 5  # of a picture, the whole among them, where the model reads tiles
ROOM = 2**29  # bytes of maps that a gradient pass keeps at once, beyond those of one picture
AT_ONCE = 128  # pictures of a gradient pass at once, at most
# Of a language model whose settings leave it to the library: those of LLaMA and Mistral with 7 billion.
HIDDEN, LAYERS = 4096, 32


@dataclass(frozen=True, kw_only=True)
class Need:
    """Bytes that a model takes: image tower and projector, its language model, and one gradient pass."""

    tower: int
    language: int
    passes: int
    asked: int  # for each question that is answered at once

    def answering(self, batch: int) -> int:
        """Return what answering so many questions at once takes, the process included."""
        return int(BASE_MB * MIB) + self.tower + self.language + batch * self.asked

    @property
    def total(self) -> int:
        """Return all of it, the process included."""
        return int(BASE_MB * MIB) + self.tower + self.language + self.passes


def numbers(files: LlavaFiles) -> tuple[int, int, int]:
    """Return how many numbers are in tower and projector, in the matrices of the language model's layers, and
    in the rest of it.
    """
    seen, layers, rest = 0, 0, 0
    for file in files.weights:
        for stored, entry in read_header(file).items():
            name = canonical(stored) or ""
            if not name.startswith((LANGUAGE, HEAD)):
                seen += entry.numel
            elif ".layers." in name and len(entry.shape) == 2:
                layers += entry.numel
            else:
                rest += entry.numel
    return seen, layers, rest


def at_once(files: LlavaFiles, dtype: str) -> int:
    """Return how many pictures, a power of two, a gradient pass keeps at once with what is asked about them:
    results are the same, and a large model has no room for many.
    """
    found = AT_ONCE
    while found > 1 and found * _kept(files) * BYTES[dtype] > ROOM:
        found //= 2
    return found


def _kept(files: LlavaFiles) -> int:
    """Return how many numbers a gradient pass keeps of a picture and the questions about it."""
    vision, text = files.vision, files.text
    tiles = TILES if files.variant is Variant.LLAVA_NEXT else 1
    tokens = tiles * _tokens(files)
    seen = tokens * vision["hidden_size"] * vision["num_hidden_layers"]
    asked = ASKED * (tokens + WORDS) * text.get("hidden_size", HIDDEN) * text.get("num_hidden_layers", LAYERS)
    return int(BLOCK_MAPS * (seen + asked))


def needed(files: LlavaFiles, dtype: str, language: Language) -> Need:
    """Return what a model needs to be loaded, and to take gradients through its language model."""
    size = BYTES[dtype]
    seen, layers, rest = numbers(files)
    return Need(
        tower=size * seen,
        language=layers * (1 if language is Language.INT8 else size) + size * rest,
        passes=size * (at_once(files, dtype) * _kept(files) + 2 * seen),
        asked=size * _asked(files),
    )


def _asked(files: LlavaFiles) -> int:
    """Return how many numbers answering holds of a question about a picture of its own: keys and values of
    every layer, and the maps of the one that computes.
    """
    text, tiles = files.text, TILES if files.variant is Variant.LLAVA_NEXT else 1
    length, width = tiles * _tokens(files) + WORDS, text.get("hidden_size", HIDDEN)
    return int(length * width * (2 * text.get("num_hidden_layers", LAYERS) + BLOCK_MAPS))


def memory_note(name: str, need: Need, room: int | None, batch: int) -> str:
    """Return that so many questions at once do not fit into the room there is, and how many do; nothing where
    they do.
    """
    if room is None or need.answering(batch) <= room:
        return ""
    fits = next((n for n in powers_below(batch) if need.answering(n) <= room), 0)
    note = (
        f"memory of {name}: answering {batch} questions at once takes about {worded(need.answering(batch))}"
    )
    note += f", and there are {worded(room)}"
    return f"{note}. Less: metrics.batch={fits} fits" if fits else note


def check_memory(
    files: LlavaFiles, need: Need, free: int | None, place: str, *, told: Mapping[str, Any]
) -> None:
    """Raise WeightsError where a model needs more than is `free`; the settings `told` say what helps."""
    if free is None or need.total <= free:
        return
    helps = []
    if told["dtype"] == "float32":
        helps.append("model.dtype=bfloat16 halves it")
    if told["language"] is Language.FULL:
        helps.append("model.answer_weights=int8 holds the language model in a byte for each weight")
    parts = ", ".join(
        f"{name} {size / GIB:.1f} GB"
        for name, size in (
            ("image tower and projector", need.tower),
            ("language model", need.language),
            ("a gradient pass", need.passes),
        )
    )
    raise WeightsError(
        f"model.weights: '{files.source}' needs more memory than {place} has free",
        allowed=f"{free / GIB:.1f} GB",
        found=f"about {need.total / GIB:.1f} GB in {told['dtype']}: {parts}",
        fix="; ".join(helps) or "close what else runs, or take a larger machine",
    )


def cost(files: LlavaFiles, work: Work, need: Need, device: str) -> Estimate:
    """Return what a job costs: every picture goes through the tower, and its tokens through the language
    model with each of a few questions.
    """
    seen, layers, _ = numbers(files)
    tiles = TILES if files.variant is Variant.LLAVA_NEXT else 1
    each = tiles * _tokens(files) * (seen + SHARED * layers) + SHARED * WORDS * layers
    judged = FORWARD * (work.trials * work.tried / 2 + work.states * work.judged)
    operations = each * (BOTH * work.epochs * work.seen + judged)
    seconds = START_SECONDS + operations / speed(device, work.processes)
    return Estimate(seconds=seconds, memory_mb=need.total / MIB, source=COUNTED)


def _tokens(files: LlavaFiles) -> int:
    """Return the tokens of one square of a picture."""
    return int((files.vision.get("image_size", 336) // files.vision.get("patch_size", 14)) ** 2) + 1
