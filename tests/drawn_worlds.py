"""Tiny pipelines of both kinds as loaded models, and sets for them of a few words."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tiny_sd import tiny_sd3, tiny_sd15
from torch import Tensor

from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets, Shots
from razor_cli.engine.lab import Lab
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.family import Diffusion
from razor_cli.families.diffusion.kinds import Kind

STYLES, OBJECTS = ("Noto", "Mono", "Cubism", "Crayon"), ("Cats", "Dogs", "Bears", "Frogs")
TARGET = STYLES[0]


@cache
def folder_of(kind: Kind) -> Path:
    """Return the folder of a tiny pipeline, written once."""
    place = Path(tempfile.mkdtemp(prefix="tiny_sd_"))
    return tiny_sd15(place / kind) if kind is Kind.SD15 else tiny_sd3(place / kind)


def opened(kind: Kind = Kind.SD15) -> Diffusion:
    """Return a freshly loaded tiny model, stored as its parameters are."""
    from diffusers import StableDiffusion3Pipeline, StableDiffusionPipeline

    if kind is Kind.SD15:
        pipeline: Any = StableDiffusionPipeline.from_pretrained(folder_of(kind))
    else:
        pipeline = StableDiffusion3Pipeline.from_pretrained(
            folder_of(kind), text_encoder_3=None, tokenizer_3=None
        )
    denoiser = Denoiser(pipeline, kind)
    stored = {n: p.detach().clone() for n, p in denoiser.module.named_parameters()}
    return Diffusion(label=f"tiny_{kind}", stand_in=True, denoiser=denoiser, stored=stored, digest=kind)


def drawn_sets(**changes: Any) -> DrawnSets:
    """Return sets of a style against three others, without a picture."""
    cells = [(s, o) for s in STYLES for o in OBJECTS]
    fields: dict[str, Any] = {
        "target": TARGET,
        "axis": "style",
        "forget": Pairs((), {}),
        "retain": Pairs((), {}),
        "validation": Shots(),
        "evaluation": Shots(),
        "labels": {"style": STYLES, "object": OBJECTS},
        "prompts": {s: f"An image in {s} style." for s in STYLES},
        "generic_prompt": "An image.",
        "anchor": "An image in photo style.",
        "target_prompts": tuple(f"A {o} image in {s} style." for s, o in cells if s == TARGET),
        "retain_prompts": tuple(f"A {o} image in {s} style." for s, o in cells if s != TARGET),
    }
    return DrawnSets(**fields | changes)


def lab_of(family: Diffusion, **more: Any) -> Lab:
    """Return a bench with the model and the sets, of the methods that look at no board."""
    return Lab(family=family, sets=more.pop("sets", drawn_sets()), **more)


def bits(family: Diffusion) -> dict[str, Tensor]:
    """Return copies of all parameters."""
    return {n: p.detach().clone() for n, p in family.module.named_parameters()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Tell whether two sets of tensors are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)
