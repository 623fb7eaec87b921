"""The towers of a module of open_clip's shape, as they are cut into components."""

from __future__ import annotations

from typing import Any

from torch import nn

from razor_cli.dual.components import OPEN_CLIP, Layout, TowerLayout
from razor_cli.dual.found import find_tower
from razor_cli.dual.view import Tower

VISION_BLOCKS = "visual.transformer.resblocks."


def layouts_of(module: Any) -> tuple[Layout, Layout]:
    """Return where the towers of an open_clip module are, vision first. Raises WeightsError for one whose
    parts cannot be told.
    """
    names = {n for n, _ in module.named_parameters()}
    root = "text." if any(n.startswith("text.") for n in names) else ""
    text_blocks = f"{root}transformer.resblocks."
    plain = (
        f"{VISION_BLOCKS}0.attn.in_proj_weight" in names and getattr(module.visual, "attn_pool", None) is None
    )
    vision = (
        _plain(module, Tower.VISION, VISION_BLOCKS, "visual.proj", names)
        if plain
        else find_tower(module, Tower.VISION, "visual.")
    )
    if f"{text_blocks}0.attn.in_proj_weight" in names:
        return vision, _plain(module, Tower.TEXT, text_blocks, f"{root}text_projection", names)
    # What a block of transformers gives back differs with the library's version and with its kind
    return vision, find_tower(module, Tower.TEXT, root, replays=False)


def _plain(module: nn.Module, tower: Tower, prefix: str, projection: str, names: set[str]) -> TowerLayout:
    named = (projection, f"{projection}.weight")  # a parameter of the tower, or with a bias a layer
    blocks: list[Any] = list(module.get_submodule(prefix.rstrip(".")).children())
    attention = blocks[0].attn
    return TowerLayout(
        tower=tower,
        prefix=prefix,
        layers=len(blocks),
        width=attention.embed_dim,
        heads=attention.num_heads,
        projection=next((n for n in named if n in names), None),
        names=OPEN_CLIP,
    )
