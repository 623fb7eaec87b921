"""What a configuration beside weights claims, held against the weights: nothing is built that the files could
not fill. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from razor_cli.data.sources.pixels import SHORT_SIDE
from razor_cli.errors import WeightsError
from razor_cli.families.clip.files import WITHOUT_TOWER

SUFFIXES = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
TENSORS, ENTRY_BYTES = 12, 32  # of a block at the least, and what a file needs to name one tensor
MOST = 2**40  # no size of a model is larger; keeps products of hostile numbers small


@dataclass(frozen=True)
class Part:
    """One tower's part of a configuration file."""

    file: Path
    name: str  # vision_config, text_cfg, ...
    values: Mapping[str, Any]

    def size(self, key: str, default: int) -> int:
        """Return a size. Raises WeightsError for a value that is none."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < MOST:
            raise WeightsError(
                f"{self.file}: {self.name}.{key} is not a size",
                allowed="a whole number > 0",
                found=repr(value),
            )
        return value

    def image_weights(self, width: int, default_patch: int) -> int:
        """Return how many weights turn a picture into the tower's tokens. Raises WeightsError for pictures
        larger than those that are read.
        """
        value = self.values.get("image_size", 224)
        sides = value if isinstance(value, list) and len(value) == 2 else [value]
        sizes = [Part(self.file, self.name, {"image_size": side}).size("image_size", 224) for side in sides]
        if max(sizes) > SHORT_SIDE:
            raise WeightsError(
                f"{self.file}: {self.name}.image_size is larger than pictures are read",
                allowed=f"up to {SHORT_SIDE}",
                found=value,
            )
        patch = self.size("patch_size", default_patch)
        tokens = (sizes[0] // patch) * (sizes[-1] // patch) + 1
        return 3 * patch * patch * width + tokens * width


def check_claims(file: Path, towers: list[tuple[int, int, int]], tables: int) -> None:
    """Raise WeightsError if a model is larger than the weights files beside its configuration, at one byte
    for each weight: `towers` are (layers, width, width of the MLP), `tables` the weights of embeddings.
    """
    wanted = tables + sum(layers * (4 * width**2 + 2 * width * hidden) for layers, width, hidden in towers)
    named = sum(layers for layers, _, _ in towers) * TENSORS * ENTRY_BYTES
    held = sum(p.stat().st_size for p in file.parent.iterdir() if p.suffix in SUFFIXES and p.is_file())
    if held and wanted + named > held:
        raise WeightsError(
            f"{file} describes another model than the weights beside it",
            found=f"{wanted:,} weights described, {held:,} bytes of weights",
            fix="fetch the model's files again, all of one version",
        )


def check_open_clip(file: Path, config: Mapping[str, Any]) -> None:
    """Raise WeightsError for a configuration of open_clip whose sizes cannot be those of the weights beside
    it: of the towers that are its own transformers, as those of other libraries are built by name.
    """
    vision, text = (Part(file, name, config[name]) for name in ("vision_cfg", "text_cfg"))
    own_images = not vision.values.get("timm_model_name") and isinstance(vision.values.get("layers", 12), int)
    own_texts = not text.values.get("hf_model_name")
    towers, tables = [], 0
    for part, width, own in ((vision, 768, own_images), (text, 512, own_texts)):
        ratio = part.values.get("mlp_ratio", 4.0)
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio < MOST:
            raise WeightsError(
                f"{file}: {part.name}.mlp_ratio is not a ratio", allowed="a number > 0", found=repr(ratio)
            )
        if own:
            found = part.size("width", width)
            towers.append((part.size("layers", 12), found, int(found * ratio)))
    if own_texts:
        tables += (text.size("vocab_size", 49408) + text.size("context_length", 77)) * text.size("width", 512)
        text.size("heads", 8)
    if own_images:
        tables += vision.image_weights(vision.size("width", 768), 16)
        vision.size("head_width", 64)
    check_claims(file, towers, tables)


def check_hugging_face(file: Path, config: Mapping[str, Any], usual: Mapping[str, int]) -> None:
    """Raise WeightsError for a configuration of transformers whose sizes cannot be those of the weights
    beside it. `usual` are the sizes that its kind of model has where the configuration leaves them open.
    """
    vision, text = (Part(file, n, config[n]) for n in ("vision_config", "text_config"))
    towers = [
        (
            part.size("num_hidden_layers", 12),
            part.size("hidden_size", width),
            part.size("intermediate_size", 4 * width),
        )
        for part, width in ((vision, 768), (text, usual["text_width"]))
    ]
    vision.size("num_attention_heads", 12)
    text.size("num_attention_heads", usual["text_heads"])
    tables = text.size("vocab_size", usual["words"])
    tables += text.size("max_position_embeddings", usual["positions"])
    width = towers[1][1]
    if "projection" in usual:
        projected = Part(file, "config", config).size("projection_dim", usual["projection"]) * (
            towers[0][1] + width
        )
    else:  # only texts are projected
        projected = text.size("projection_size", width) * width
    images = vision.image_weights(towers[0][1], usual["patch"])
    if (file.parent / WITHOUT_TOWER).is_file():  # the image tower lies in another model's files
        towers, images = towers[1:], 0
    check_claims(file, towers, tables * width + projected + images)
