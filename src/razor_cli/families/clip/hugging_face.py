"""CLIP folders of transformers: config.json, weights, tokenizer and preprocessor files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
from torch import Tensor, nn

from razor_cli.dual.components import HUGGING_FACE, TowerLayout
from razor_cli.dual.view import Tower
from razor_cli.errors import WeightsError
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import salt_of
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.open_clip_models import NO_WEIGHTS
from razor_cli.weights.checkpoint import read_state


def load_hugging_face(label: str, folder: str | None) -> Clip:
    """Load a transformers CLIP folder (config.json, weights, tokenizer and preprocessor files)."""
    if not folder or not (Path(folder).expanduser() / "config.json").is_file():
        raise WeightsError(
            f"model.weights: '{folder}' is no Hugging Face CLIP folder",
            found="no config.json in it",
            fix=NO_WEIGHTS,
        )
    from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

    path = Path(folder).expanduser()
    config: Any = CLIPConfig.from_pretrained(path)
    module = CLIPModel(config)
    stored = read_state(path)
    fill(module, stored, f"model.weights='{path.name}'")
    tokenizer = CLIPTokenizer.from_pretrained(path)
    length = config.text_config.max_position_embeddings

    def tokenize(texts: list[str]) -> Tensor:
        ids: Tensor = tokenizer(
            texts, padding="longest", truncation=True, max_length=length, return_tensors="pt"
        )["input_ids"]
        return ids

    def pooled(features: Any) -> Tensor:  # newer versions return an output object
        value: Tensor = features if isinstance(features, Tensor) else features.pooler_output
        return value

    vision, text = config.vision_config, config.text_config
    layouts = (
        _hf_layout(module, Tower.VISION, vision, "vision_model", "visual_projection.weight"),
        _hf_layout(module, Tower.TEXT, text, "text_model", "text_projection.weight"),
    )
    return Clip(
        label=label,
        stand_in=False,
        module=module.eval(),
        layouts=layouts,
        image_features=lambda x: pooled(module.get_image_features(pixel_values=x)),
        text_features=lambda t: pooled(module.get_text_features(input_ids=t)),
        transform=_hf_transform(path, vision.image_size),
        tokenizer=tokenize,
        stored=stored,
        source=path.name,
        architecture=_named(vision),
        salt=salt_of(path),
    )


def architecture_of(folder: Path) -> str:
    """Return what a folder's image tower is called, from its config.json."""
    from transformers import CLIPConfig

    config: Any = CLIPConfig.from_pretrained(folder)
    return _named(config.vision_config)


def _named(vision: Any) -> str:
    return f"hf-clip-{vision.hidden_size}x{vision.num_hidden_layers}-{vision.hidden_act}"


def _hf_transform(path: Path, size: int) -> Any:
    keywords: dict[str, Any] = {}
    for name in (
        "processor_config.json",
        "preprocessor_config.json",
    ):  # newer versions keep it inside the former
        if (path / name).is_file():
            saved = json.loads((path / name).read_text())
            saved = saved.get("image_processor", saved)
            keywords |= {
                k: tuple(saved[v]) for k, v in (("mean", "image_mean"), ("std", "image_std")) if v in saved
            }
    return open_clip.transform.image_transform(size, is_train=False, **keywords)


def _hf_layout(module: nn.Module, tower: Tower, config: Any, part: str, projection: str) -> TowerLayout:
    # Versions differ in what precedes `encoder.layers`, so the prefix is found, not written down.
    first = next(n for n, _ in module.named_parameters() if n.startswith(part) and ".layers.0." in n)
    return TowerLayout(
        tower=tower,
        prefix=first[: first.index("layers.0.") + len("layers.")],
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        heads=config.num_attention_heads,
        projection=projection,
        names=HUGGING_FACE,
    )
