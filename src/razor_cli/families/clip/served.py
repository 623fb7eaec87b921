"""Why an architecture of open_clip is not served, told from its configuration alone. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError
from razor_cli.weights.json_file import read_json

# Image towers of timm whose blocks were found and tried, by how their names begin (docs/architectures.md).
TIMM = ("convnext_", "eva", "fastvit_", "resnet", "swin_", "vit_", "vitamin_")
# Text towers of transformers whose blocks were found and tried, by the model_type of their configuration.
HF_TEXTS = ("bert", "m2m_100", "mt5", "roberta", "xlm-roberta")
# Blocks whose attention has further parts: no head of theirs can be told by the slices of one matrix.
OTHER_BLOCKS = ("qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc")
HF_CONFIG = "config.json"


def is_plain(config: Mapping[str, Any]) -> bool:
    """Tell whether both towers are open_clip's own transformers, whose sizes stand in the configuration."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    plain = not vision.get("timm_model_name") and isinstance(vision.get("layers", 12), int)
    return plain and not text.get("hf_model_name")


def refusal(config: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why an architecture is not served and what to do about it, or None for one that is."""
    vision, text = config["vision_cfg"], config["text_cfg"]
    other = "choose another architecture (docs/architectures.md lists those that are served)"
    for name, part in (("vision_cfg", vision), ("text_cfg", text)):
        if part.get("block_type") not in (None, "default") or any(part.get(key) for key in OTHER_BLOCKS):
            return f"the blocks of its {name} are open_clip's custom ones, whose heads are not slices", other
    if (image := vision.get("timm_model_name")) and not str(image).startswith(TIMM):
        allowed = ", ".join(f"{begin}…" for begin in TIMM)
        return f"its image tower '{image}' is none of those of timm that were tried ({allowed})", other
    if name := text.get("hf_model_name"):
        return _hf_refusal(str(name), other)
    return None


def _hf_refusal(name: str, other: str) -> tuple[str, str] | None:
    folder = hf_folder(name)
    if folder is None:
        return (
            f"its text tower '{name}' is one of transformers, whose configuration is not on this machine",
            f"fetch it once where the hub can be reached: hf download {name} {HF_CONFIG}",
        )
    try:
        kind = read_json(folder / HF_CONFIG).get("model_type")
    except WeightsError as error:
        return f"the configuration of its text tower '{name}' cannot be read: {error.what}", other
    if kind not in HF_TEXTS:
        return f"its text tower '{name}' is a {kind}, none of {', '.join(HF_TEXTS)}", other
    return None


def hf_folder(name: str) -> Path | None:
    """Return the folder of the hub's cache that holds the configuration of a text tower, or None."""
    from huggingface_hub import try_to_load_from_cache

    try:
        found = try_to_load_from_cache(name, HF_CONFIG)
    except ValueError:  # not the name of a repository
        return None
    return Path(found).parent if isinstance(found, str) else None
