"""A Stable Diffusion 1.5 of random weights with its CLIP, as folders that razor-cli opens, and sets of a
style to forget in the shape of UnlearnCanvas. Nothing is fetched.
"""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from razor_cli.data.sets import Pairs
from razor_cli.data.shots import DrawnSets, Shot, Shots
from razor_cli.data.sources.base import Picture
from razor_cli.families.diffusion.standins import stand_in_folder

LENGTH, FACTOR, LETTERS = (
    77,
    8,
    715,
)  # tokens of a prompt, pixels of a latent, tokens of the embedded tokenizer
STYLES = ("noto", *(f"style{i}" for i in range(49)))
OBJECTS = tuple(f"thing{i}" for i in range(20))
VAE_BLOCKS = 4


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the nets are; as they stand here, those of Stable Diffusion 1.5 and of the CLIP beside it."""

    unet: tuple[int, ...] = (320, 640, 1280, 1280)
    layers: int = 2  # of each block of the UNet
    heads: int = 8
    groups: int = 32
    vae: tuple[int, ...] = (128, 256, 512, 512)
    text: tuple[int, int, int, int] = (768, 12, 12, 3072)  # width, layers, heads, width of the MLP
    words: int = 49408
    image: tuple[int, int, int, int] = (1024, 24, 16, 4096)
    pixels: int = 224  # of the CLIP's pictures
    patch: int = 14
    space: int = 768  # of pictures and texts


SMALL = Sizes(
    unet=(16, 16, 32, 32),
    layers=1,
    heads=2,
    groups=8,
    vae=(8, 8, 16, 16),
    text=(32, 2, 2, 64),
    words=LETTERS,
    image=(32, 2, 2, 64),
    pixels=32,
    patch=8,
    space=16,
)


def write(folder: Path, sizes: Sizes, side: int) -> int:
    """Write a pipeline for pictures of `side` pixels in half precision, and the CLIP of its text encoder
    beside it; return how many numbers the UNet has.
    """
    torch.manual_seed(0)
    own = stand_in_folder("sd_tiny")
    shutil.copytree(own / "scheduler", folder / "scheduler")
    shutil.copytree(own / "tokenizer", folder / "tokenizer")
    shutil.copy(own / "model_index.json", folder)
    _widen(folder / "tokenizer", sizes.words)
    _clip(folder, folder.with_name(f"{folder.name}_clip"), sizes)
    _vae(sizes, side).half().save_pretrained(folder / "vae")
    unet = _unet(sizes, side)
    unet.half().save_pretrained(folder / "unet")
    return sum(p.numel() for p in unet.parameters())


def _widen(folder: Path, words: int) -> None:
    """Let the embedded tokenizer fill prompts up to the length of a full-size model, and give it as many
    words as the embedding has rows; those that are added stand in no text.
    """
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": LENGTH}))
    known = folder / "vocab.json"
    vocabulary = json.loads(known.read_text())
    vocabulary |= {f"<|unused{i}|>": i for i in range(len(vocabulary), words)}
    known.write_text(json.dumps(vocabulary))


def _unet(sizes: Sizes, side: int) -> Any:
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=side // FACTOR,
        block_out_channels=sizes.unet,
        layers_per_block=sizes.layers,
        cross_attention_dim=sizes.text[0],
        attention_head_dim=sizes.heads,
        norm_num_groups=sizes.groups,
    )


def _vae(sizes: Sizes, side: int) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=sizes.vae,
        down_block_types=("DownEncoderBlock2D",) * VAE_BLOCKS,
        up_block_types=("UpDecoderBlock2D",) * VAE_BLOCKS,
        layers_per_block=sizes.layers,
        latent_channels=4,
        norm_num_groups=min(sizes.groups, sizes.vae[0]),
        sample_size=side,
    )


def _clip(pipeline: Path, folder: Path, sizes: Sizes) -> None:
    """Write a CLIP, and its text tower into the pipeline as the text encoder."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig

    marks = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    text = _tower(sizes.text, sizes) | marks | {"vocab_size": sizes.words, "max_position_embeddings": LENGTH}
    image = _tower(sizes.image, sizes) | {"image_size": sizes.pixels, "patch_size": sizes.patch}
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=image, projection_dim=sizes.space)).half()
    held = {n: v.clone() for n, v in model.state_dict().items() if not n.endswith("position_ids")}
    own = stand_in_folder("sd_tiny_clip")
    shutil.copytree(own, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    _widen(folder, sizes.words)
    model.config.save_pretrained(folder)
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    file = folder / "preprocessor_config.json"
    size = {"size": {"shortest_edge": sizes.pixels}}
    size["crop_size"] = {"height": sizes.pixels, "width": sizes.pixels}
    file.write_text(json.dumps(json.loads(file.read_text()) | size))
    encoder = pipeline / "text_encoder"
    CLIPTextConfig(**text, architectures=["CLIPTextModel"]).save_pretrained(encoder)
    text_tower = {n: v for n, v in held.items() if n.startswith("text_model.")}
    save_file(text_tower, encoder / "model.safetensors", metadata={"format": "pt"})


def _tower(shape: tuple[int, int, int, int], sizes: Sizes) -> dict[str, Any]:
    width, layers, heads, wide = shape
    return {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": wide,
        "projection_dim": sizes.space,
        "hidden_act": "quick_gelu",
    }


@dataclass(frozen=True)
class Noise:
    """A source of pictures that show nothing."""

    side: int
    name: str = "noise"
    domain: str = "drawn"

    def concepts(self) -> list[str]:
        """Return the styles."""
        return list(STYLES)

    def pictures(self, concept: str, split: str) -> list[Picture]:
        """Return a picture of every object in one style."""
        return list(_pictures([concept], 1))

    def load(self, pictures: Sequence[Picture]) -> list[Image.Image]:
        """Return the pictures, each from its key."""
        rngs = (np.random.default_rng(zlib.crc32(p.key.encode())) for p in pictures)
        shape = (self.side, self.side, 3)
        return [Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8), "RGB") for rng in rngs]


def prompt(style: str, thing: str) -> str:
    """Return the prompt of a cell."""
    return f"A {thing} image in {style} style."


def _pictures(styles: Sequence[str], number: int) -> tuple[Picture, ...]:
    return tuple(
        Picture(key=f"{s}/{o}/{n}", concept=s, domain="drawn", caption=prompt(s, o))
        for n in range(number)
        for s in styles
        for o in OBJECTS
    )


def sets_of(side: int, pairs: int, prompts: int) -> DrawnSets:
    """Return sets of one style of fifty against the others: so many forget and retain pictures, and at most
    so many prompts of the target and of the others.
    """
    source: Any = {"drawn": Noise(side)}
    rows = -(-pairs // len(OBJECTS))
    forget, retain = _pictures(STYLES[:1], rows)[:pairs], _pictures(STYLES[1:], 1)[:pairs]
    shots = Shots(
        Shot(prompt=prompt(s, OBJECTS[0]), seed=i, labels=(("style", s), ("object", OBJECTS[0])))
        for i, s in enumerate(STYLES[:2])
    )
    return DrawnSets(
        target=STYLES[0],
        axis="style",
        forget=Pairs(forget, source),
        retain=Pairs(retain, source),
        validation=shots,
        evaluation=shots,
        labels={"style": STYLES, "object": OBJECTS},
        prompts={s: f"An image in {s} style." for s in STYLES[:2]},
        generic_prompt="An image.",
        anchor="An image.",
        target_prompts=tuple(prompt(STYLES[0], o) for o in OBJECTS)[:prompts],
        retain_prompts=tuple(prompt(s, o) for s in STYLES[1:] for o in OBJECTS)[:prompts],
    )
