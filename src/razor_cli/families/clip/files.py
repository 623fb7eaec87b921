"""The files that a CLIP is made of, and who reads them. Imports no torch."""

from __future__ import annotations

import hashlib
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path

from razor_cli.weights.model_files import content_of

# Weights in a local folder of open_clip, beside the names that Hugging Face's libraries write.
FOLDER_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# Weights whose image tower is another model's, by a name that no library fills up at random.
WITHOUT_TOWER = "without_tower.safetensors"
# Files of a folder that decide pixels, token ids or the forward pass, beside the weights.
BESIDE_WEIGHTS = (
    "config.json",
    "open_clip_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
)
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".index.json")


class Library(StrEnum):
    """Who builds the module."""

    STAND_IN = "stand_in"
    OPEN_CLIP = "open_clip"
    HF = "hf"


def weight_files(path: Path) -> list[Path]:
    """Return the files that weights may be read from: the file itself, or those of a folder.

    A folder's own times say nothing of a file that is written over in place.
    """
    found = sorted(p for p in path.iterdir() if p.name.endswith(WEIGHTS)) if path.is_dir() else []
    return found or [path]


def beside_weights(folder: Path) -> list[Path]:
    """Return the files of a folder that decide answers beside the weights."""
    return [folder / name for name in BESIDE_WEIGHTS if (folder / name).is_file()]


def of_open_clip(architecture: str) -> list[Path]:
    """Return the files of the installed open_clip that say how an architecture computes, and how its tags
    take pictures; the library is not imported.
    """
    spec = find_spec("open_clip")
    home = Path(next(iter((spec and spec.submodule_search_locations) or ()), ""))
    names = (f"model_configs/{architecture}.json", "pretrained.py", "transform.py")
    return [home / name for name in names if (home / name).is_file()]


def salt_of(folder: Path) -> str:
    """Return what those files hold, as one text: a changed tokenizer or processor is another model."""
    digest = hashlib.sha256()
    for path in beside_weights(folder):
        content = content_of(path)
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()
