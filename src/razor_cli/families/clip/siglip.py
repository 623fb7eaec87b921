"""SigLIP folders of transformers: both towers, the attention that pools a picture, texts padded to the
context.

Zhai et al. 2023 (SigLIP), Tschannen et al. 2025 (SigLIP 2, of one resolution: the same module).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from razor_cli.dual.components import Layout
from razor_cli.dual.found import find_tower
from razor_cli.dual.structure import read_block
from razor_cli.dual.view import Tower
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import salt_of
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.hf_files import check_folder, read_config, read_processor
from razor_cli.families.clip.hf_kinds import KINDS, SIGLIP
from razor_cli.families.clip.hugging_face import named, prepared_by, worded
from razor_cli.families.clip.tokens import check_tokenizer, within
from razor_cli.weights.checkpoint import read_state

POOL = "vision_model.head"


def load_siglip(label: str, folder: Path, weights: Path | None = None, *, stand_in: str = "") -> Clip:
    """Load a SigLIP folder (config.json, tokenizer, picture processor), with the weights in it or of another
    file. `stand_in` is the name of an embedded one.
    """
    from transformers import SiglipImageProcessor

    check_folder(folder, KINDS)
    path = weights or folder
    stored, module = read_state(path), empty_siglip(folder)
    fill(module, stored, f"model.weights='{path.name}'", "config.json and weights must be of one model")
    settings = read_processor(folder, module.config.vision_config.image_size, SIGLIP)
    transform = prepared_by(SiglipImageProcessor(**settings))
    view = siglip_view(label, module, tokenizer_of(folder), transform, stored, path.name)
    view.salt = salt_of(folder)
    if stand_in:
        view.stand_in, view.architecture = True, stand_in
    return view


def empty_siglip(folder: Path) -> Any:
    """Return the module that a folder's config.json describes, with random weights."""
    from transformers import SiglipModel

    with worded(folder, "describes a model that transformers cannot build"):
        return SiglipModel(_config(folder))


def siglip_view(
    label: str,
    module: Any,
    tokenizer: Any,
    transform: Callable[[Image.Image], Tensor],
    stored: Mapping[str, Tensor],
    source: str,
) -> Clip:
    """Return a SigLIP of transformers behind the family's face. Raises WeightsError for a tokenizer that is
    not the model's.
    """
    vision, text = module.config.vision_config, module.config.text_config
    what = f"model.weights='{source}'"
    checked = within(
        lambda texts: padded(tokenizer, texts, text.max_position_embeddings), text.vocab_size, what
    )
    check_tokenizer(checked, what, unknown=tokenizer.unk_token_id)
    return Clip(
        label=label,
        stand_in=False,
        module=module.eval(),
        layouts=layouts_of(module),
        image_features=lambda x: module.get_image_features(pixel_values=x).pooler_output,
        text_features=lambda t: module.get_text_features(input_ids=t).pooler_output,
        transform=transform,
        tokenizer=checked,
        stored=stored,
        source=source,
        architecture=_named(vision),
    )


def padded(tokenizer: Any, texts: list[str], length: int) -> Tensor:
    """Return the ids of texts, every one padded to the context [n, length].

    The text tower is not causal and has no mask: what stands behind a text is seen by every word of it, and
    the last place is what the text is read by. A shorter padding would be another text.
    """
    ids: Tensor = tokenizer(
        texts, padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    )["input_ids"]
    return ids


def layouts_of(module: Any) -> tuple[Layout, Layout]:
    """Return where both towers are. The attention that pools a picture has heads and an MLP of its own."""
    vision = find_tower(module, Tower.VISION, "vision_model.")
    pool = read_block(module.get_submodule(POOL), POOL)
    return replace(vision, pool=(pool,), projections=()), find_tower(module, Tower.TEXT, "text_model.")


def siglip_name(folder: Path) -> str:
    """Return what a folder's model is called, from its config.json."""
    check_folder(folder, KINDS)
    return _named(_config(folder).vision_config)


def _named(vision: Any) -> str:
    return named(vision).replace("hf-clip", "hf-siglip")


def _config(folder: Path) -> Any:
    from transformers import SiglipConfig

    with _quietly(), worded(folder, "describes a model that transformers cannot build"):
        return SiglipConfig.from_dict(read_config(folder, KINDS))


def tokenizer_of(folder: Path) -> Any:
    """Return a folder's tokenizer as transformers reads it. Raises WeightsError for one that it cannot
    read.
    """
    from transformers import AutoTokenizer

    with _quietly(), worded(folder, "holds a tokenizer that transformers cannot read"):
        return AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep transformers from warning of what it follows all the same: the end tokens that it fills in for
    sparse files, a tokenizer's class as another version wrote it.
    """
    log = logging.getLogger("transformers")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)
