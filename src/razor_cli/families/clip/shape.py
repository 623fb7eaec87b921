"""The size of a CLIP's image tower, from configurations alone: what an estimate of a job's cost
is made of.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from razor_cli.engine.estimate import Shape
from razor_cli.families.clip.architectures import configuration_of
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.hf_files import read_config
from razor_cli.families.clip.hf_kinds import KINDS
from razor_cli.families.clip.standins import CONFIG, DEFAULT, stand_in_folder


def shape_of(library: Library, architecture: str | None, weights: str | None) -> Shape:
    """Return the image tower's shape, from the configuration beside the weights or the library's own; no
    weights are read.
    """
    vision = _vision(library, architecture, weights)
    width, layers = vision.get("width", 768), vision.get("layers", 12)
    layers = sum(layers) if isinstance(layers, list) else layers  # residual networks count blocks by stage
    patch = vision.get("patch_size") or 32
    tokens = (vision.get("image_size", 224) // patch) ** 2 + 1
    return Shape(weights=12 * layers * width * width, tokens=tokens, width=width, layers=layers)


def _vision(library: Library, architecture: str | None, weights: str | None) -> dict[str, Any]:
    if library is Library.STAND_IN:
        root = stand_in_folder(architecture or DEFAULT)
        if not (root / CONFIG).is_file():
            return dict(json.loads((root / f"{root.name}.json").read_text())["vision_cfg"])
        library, weights = Library.HF, str(root)
    if library is Library.HF:
        config = read_config(Path(str(weights)).expanduser(), KINDS)["vision_config"]
        named = {"width": "hidden_size", "layers": "num_hidden_layers"}
        return {**config, **{ours: config[key] for ours, key in named.items() if key in config}}
    return dict(configuration_of(architecture or "")["vision_cfg"])
