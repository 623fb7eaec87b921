"""The tiny pipelines as loaded families, and sets to forget a style with."""

from __future__ import annotations

import tempfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import safe_open
from tiny_sd import paired_clip, tiny_sd3, tiny_sd15

from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets, Shot, Shots
from razor_cli.data.sources.base import Picture
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Draws, Kind, Sampler
from razor_cli.families.diffusion.paired import load_paired
from razor_cli.families.diffusion.stored import Place, StoredTensors

STYLES, OBJECTS = ("Noto", "Mono", "Cubism"), ("Cats", "Dogs", "Bears")
FAST = Draws(per_picture=2, batch=4, trajectory=Sampler(steps=3, batch=4), prompts=4)
_FOLDER = tempfile.TemporaryDirectory(prefix="razor-tiny-")  # goes when the process ends


@cache
def folders(kind: Kind) -> tuple[Path, dict[str, Path]]:
    """Return the folder of a tiny pipeline, and those of the CLIPs of its encoders."""
    root = Path(_FOLDER.name) / kind
    pipeline = tiny_sd15(root / "model") if kind is Kind.SD15 else tiny_sd3(root / "model")
    names = ("text_encoder",) if kind is Kind.SD15 else ("text_encoder", "text_encoder_2")
    return pipeline, {n: paired_clip(pipeline, root / n, n) for n in names}


@cache
def family(kind: Kind) -> Diffusion:
    """Return a tiny pipeline as a family, with its CLIPs; tests leave its weights as they are."""
    pipeline, clips = folders(kind)
    denoiser = Denoiser(loaded(pipeline, kind), kind)
    found = Diffusion(
        label=f"tiny_{kind}",
        stand_in=True,
        denoiser=denoiser,
        stored=StoredTensors(_places(pipeline, denoiser)),
        digest=denoiser.live_hash(),
        draws=FAST,
    )
    found.paired = {name: load_paired(found, name, folder) for name, folder in clips.items()}
    return found


def loaded(folder: Path, kind: Kind) -> Any:
    """Return the pipeline of a folder as diffusers loads it."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    if kind is Kind.SD15:
        return diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    none = {"text_encoder_3": None, "tokenizer_3": None}
    return diffusers.StableDiffusion3Pipeline.from_pretrained(folder, **none)


def _places(folder: Path, denoiser: Denoiser) -> dict[str, Place]:
    """Return where each parameter lies, whichever spelling the library has in memory."""
    found = {}
    for file in sorted(folder.glob("*/*.safetensors")):
        part = file.parent.name
        with safe_open(file, framework="pt") as opened:
            keys = {key.removeprefix("text_model."): key for key in opened.keys()}  # noqa: SIM118
        for name, _ in denoiser.module.get_submodule(part).named_parameters():
            found[f"{part}.{name}"] = Place(file, keys[name.removeprefix("text_model.")])
    return found


@dataclass(frozen=True)
class Paint:
    """A source of pictures: a colour for the object, stripes for the style."""

    name: str = "paint"
    domain: str = "drawn"

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Return the pictures."""
        return [self._painted(p.key) for p in pictures]

    def _painted(self, key: str) -> Image.Image:
        style, thing, number = key.split("/")
        rng = np.random.default_rng(zlib.crc32(f"{thing}/{number}".encode()))
        colour = np.random.default_rng(zlib.crc32(thing.encode())).uniform(40, 215, 3)
        rows = 40 * np.sin(np.arange(48) * (1 + STYLES.index(style)))[:, None, None]
        pixels = colour + rows + rng.normal(0, 10, (48, 48, 3))
        return Image.fromarray(pixels.clip(0, 255).astype(np.uint8), "RGB")


def cell(style: str, thing: str) -> str:
    """Return the prompt of a cell."""
    return f"A {thing} image in {style} style."


def pairs(styles: Sequence[str], number: int = 1) -> Pairs:
    """Return pictures of all objects in some styles."""
    found = tuple(
        Picture(key=f"{s}/{o}/{n}", concept=s, domain="drawn", caption=cell(s, o))
        for s in styles
        for o in OBJECTS
        for n in range(number)
    )
    sources: Any = {"drawn": Paint()}  # pictures are listed here, and only loaded by it
    return Pairs(found, sources)


def shots(first: int) -> Shots:
    """Return one shot of every cell, with a seed of its own."""
    cells = [(s, o) for s in STYLES for o in OBJECTS]
    return Shots(
        Shot(prompt=cell(s, o), seed=first + i, labels=(("style", s), ("object", o)))
        for i, (s, o) in enumerate(cells)
    )


def make_sets() -> DrawnSets:
    """Return sets of the style Noto against the others."""
    target, others = STYLES[0], STYLES[1:]
    return DrawnSets(
        target=target,
        axis="style",
        forget=pairs([target], 2),
        retain=pairs(others, 2),
        validation=shots(100),
        evaluation=shots(200),
        labels={"style": STYLES, "object": OBJECTS},
        prompts={s: f"An image in {s} style." for s in STYLES},
        generic_prompt="An image.",
        anchor="An image.",
        target_prompts=tuple(cell(target, o) for o in OBJECTS),
        retain_prompts=tuple(cell(s, o) for s in others for o in OBJECTS),
    )


def bits(model: Diffusion) -> dict[str, torch.Tensor]:
    """Return a copy of every parameter."""
    return {n: p.detach().clone() for n, p in model.module.named_parameters()}
