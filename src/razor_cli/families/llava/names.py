"""What the tensors of a LLaVA are called: in memory, and in the files of every version of transformers.
Imports no torch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

TOWER, PROJECTOR, LANGUAGE = "model.vision_tower.", "model.multi_modal_projector.", "model.language_model."
HEAD, NEWLINE = "lm_head.", "model.image_newline"
BLOCKS = f"{TOWER}encoder.layers."
INSIDE = "vision_model."  # stands inside the tower's names before version 5
UNSTORED = ("position_ids", "rotary_emb.inv_freq")  # buffers that old files hold and nobody needs
# What only the names of the original repository have.
ORIGINAL = ("mm_projector", "vision_tower.vision_tower", "model.layers.", "model.embed_tokens")


def canonical(stored: str) -> str | None:
    """Return what a stored tensor is called in memory by today's library; None for a buffer that is no
    weight. A name that is none of a LLaVA comes back as it is.
    """
    if stored.endswith(UNSTORED):
        return None
    inner = stored.removeprefix("model.")
    if inner.startswith("vision_tower."):
        return TOWER + inner.removeprefix("vision_tower.").removeprefix(INSIDE)
    if inner.startswith("language_model.lm_head."):
        return HEAD + inner.removeprefix("language_model.lm_head.")
    if inner.startswith("language_model."):
        return LANGUAGE + inner.removeprefix("language_model.").removeprefix("model.")
    if inner.startswith("multi_modal_projector.") or inner == "image_newline":
        return f"model.{inner}"
    return stored


def is_original(names: Iterable[str]) -> bool:
    """Tell whether names are spelled as in the original repository."""
    return any(word in name for name in names for word in ORIGINAL if "language_model" not in name)


def tower_names(vision: Mapping[str, Any]) -> list[str]:
    """Return the parameters of an image tower with these settings, by their names in memory."""
    both = ("weight", "bias")
    parts = [f"self_attn.{p}_proj" for p in ("k", "v", "q", "out")]
    parts += ["layer_norm1", "mlp.fc1", "mlp.fc2", "layer_norm2"]
    return [
        *(
            f"{TOWER}embeddings.{n}"
            for n in ("class_embedding", "patch_embedding.weight", "position_embedding.weight")
        ),
        *(f"{TOWER}pre_layrnorm.{k}" for k in both),
        *(f"{BLOCKS}{i}.{p}.{k}" for i in range(vision["num_hidden_layers"]) for p in parts for k in both),
        *(f"{TOWER}post_layernorm.{k}" for k in both),
    ]


def projector_names(bias: bool) -> list[str]:
    """Return the parameters of the projector."""
    kinds = ("weight", "bias") if bias else ("weight",)
    return [f"{PROJECTOR}linear_{i}.{kind}" for i in (1, 2) for kind in kinds]


def differences(
    found: Iterable[str], wanted: Collection[str], aliases: Collection[str] = ()
) -> tuple[dict[str, str], list[str], list[str]]:
    """Return what is called what: name in memory -> stored name; then the names that are missing, and the
    stored ones that nothing asks for. `aliases` are second names of tensors in memory.
    """
    names: dict[str, str] = {}
    unexpected: list[str] = []
    for stored in found:
        name = canonical(stored)
        if name is None:
            continue
        if name in wanted and name not in names:
            names[name] = stored
        elif name not in aliases:
            unexpected.append(stored)
    return names, sorted(set(wanted) - names.keys()), sorted(unexpected)
