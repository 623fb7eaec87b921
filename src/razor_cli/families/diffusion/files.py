"""The files that a pipeline is made of, and which pipelines are served. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.families.diffusion.kinds import Kind
from razor_cli.runs.remembered import file_hash
from razor_cli.weights.model_files import content_of

INDEX = "model_index.json"
# Weights in the folder of a net of diffusers.
FOLDER_FILES = tuple(
    name
    for whole in ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")
    for name in (whole, f"{whole}.index.json")
)
T5, T5_TOKENIZER = "text_encoder_3", "tokenizer_3"
CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")
# Schedulers whose noise is that of DDPM's alphas; each is made of the others' settings.
ALPHAS = (
    "DDIMScheduler DDPMScheduler PNDMScheduler LMSDiscreteScheduler EulerDiscreteScheduler "
    "EulerAncestralDiscreteScheduler HeunDiscreteScheduler DPMSolverMultistepScheduler "
    "DPMSolverSinglestepScheduler KDPM2DiscreteScheduler KDPM2AncestralDiscreteScheduler "
    "DEISMultistepScheduler UniPCMultistepScheduler"
).split()
PIPELINES = {Kind.SD15: "StableDiffusionPipeline", Kind.SD3: "StableDiffusion3Pipeline"}
OWNER = "a pipeline"
SERVED = (
    "StableDiffusionPipeline (Stable Diffusion 1.x and 2.x), StableDiffusion3Pipeline (Stable Diffusion 3)"
)
CLASSES: Mapping[Kind, Mapping[str, tuple[str, ...]]] = {
    Kind.SD15: {
        "text_encoder": ("CLIPTextModel",),
        "unet": ("UNet2DConditionModel",),
        "vae": ("AutoencoderKL",),
        "tokenizer": CLIP_TOKENIZERS,
        "scheduler": tuple(ALPHAS),
    },
    Kind.SD3: {
        "text_encoder": ("CLIPTextModelWithProjection",),
        "text_encoder_2": ("CLIPTextModelWithProjection",),
        T5: ("T5EncoderModel",),
        "transformer": ("SD3Transformer2DModel",),
        "vae": ("AutoencoderKL",),
        "tokenizer": CLIP_TOKENIZERS,
        "tokenizer_2": CLIP_TOKENIZERS,
        T5_TOKENIZER: T5_TOKENIZERS,
        "scheduler": ("FlowMatchEulerDiscreteScheduler",),
    },
}
OPTIONAL = (T5, T5_TOKENIZER)
CONFIG, SCHEDULE = "config.json", "scheduler_config.json"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "spiece.model",
)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One net of a pipeline: its class, its settings, and where its weights are."""

    name: str  # as in model_index.json: text_encoder, unet …
    kind: str  # its class
    config: Mapping[str, Any]
    files: tuple[Path, ...]
    # Where all nets lie in one file: what a tensor is called in a folder of diffusers -> in the file.
    renamed: Mapping[str, str] | None = None


@dataclass(frozen=True, kw_only=True)
class PipelineFiles:
    """A pipeline on disk."""

    path: Path
    kind: Kind
    parts: Mapping[str, Part]
    tokenizers: Mapping[str, Path]  # name -> folder
    scheduler: str  # its class
    schedule: Mapping[str, Any]  # its settings
    beside: tuple[Path, ...]  # files that decide answers beside the weights

    @property
    def source(self) -> str:
        """Return what the files are called, without the path."""
        return self.path.name

    def encoders(self) -> dict[str, Part]:
        """Return the text encoders of the CLIP kind."""
        return {n: p for n, p in self.parts.items() if n.startswith("text_encoder") and n != T5}

    def digest(self) -> str:
        """Return the hash of all files that decide answers; those of weights are remembered by their
        state.
        """
        digest = hashlib.sha256(f"diffusion 1 {self.kind} {self.scheduler}".encode())
        for name, part in sorted(self.parts.items()):
            for file in part.files:
                digest.update(f"{name}|{part.kind}|{file_hash(file)}\n".encode())
        for file in self.beside:
            content = content_of(file)
            digest.update(f"{file.parent.name}/{file.name}|{hashlib.sha256(content).hexdigest()}\n".encode())
        return digest.hexdigest()
