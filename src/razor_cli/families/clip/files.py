"""The files that a CLIP is made of, and who reads them. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

# Weights in a local folder of open_clip, beside the names that Hugging Face's libraries write.
FOLDER_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# Files of a transformers folder that decide answers beside the weights.
BESIDE_WEIGHTS = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
)


class Library(StrEnum):
    """Who builds the module."""

    STAND_IN = "stand_in"
    OPEN_CLIP = "open_clip"
    HF = "hf"


def beside_weights(folder: Path) -> list[Path]:
    """Return the files of a transformers folder that decide answers beside the weights."""
    return [folder / name for name in BESIDE_WEIGHTS if (folder / name).is_file()]


def salt_of(folder: Path) -> str:
    """Return what those files hold, as one text: a changed tokenizer or processor is another model."""
    digest = hashlib.sha256()
    for path in beside_weights(folder):
        content: Any = path.read_bytes()
        if path.suffix == ".json":  # layout and the writing library's version are no difference
            content = json.dumps(_without_versions(json.loads(content)), sort_keys=True).encode()
        digest.update(f"{path.name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


def _without_versions(value: Any) -> Any:
    return (
        {k: v for k, v in value.items() if k != "transformers_version"} if isinstance(value, dict) else value
    )
