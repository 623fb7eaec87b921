"""CLIP of open_clip: the embedded stand-ins, and architectures with a tag, a file or a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import open_clip
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from razor_cli.dual.components import OPEN_CLIP, TowerLayout
from razor_cli.dual.view import Tower
from razor_cli.errors import WeightsError, nearest
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import salt_of
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.standins import DEFAULT, stand_in_folder, stand_in_names
from razor_cli.families.clip.text import can_trim, encoder_of_trimmed, trimming
from razor_cli.weights.checkpoint import read_state

NO_WEIGHTS = (
    "give a file or tag (model.weights=FILE_OR_TAG), let the hub be reached once so that the tag is cached, "
    "or use the embedded stand-in (model=clip_tiny)"
)


def load_stand_in(label: str, file: str | None = None, name: str = DEFAULT) -> Clip:
    """Load the stand-in `name` from the package, or other weights of its architecture (a patched file) from
    `file`.
    """
    root = stand_in_folder(name)
    weights = Path(file).expanduser() if file else root / f"{name}.safetensors"
    if not weights.is_file():
        have = [n for n in stand_in_names() if (stand_in_folder(n) / f"{n}.safetensors").is_file()]
        raise WeightsError(
            f"model={label}: the weights '{weights.name}' are not in this copy of razor-cli",
            allowed=f"embedded: {', '.join(have) or 'none'}",
            fix="reinstall razor-cli, train them (scripts/bundle_short.py says how), or take another "
            "model (model=clip_tiny)",
        )
    config = json.loads((root / f"{name}.json").read_text())
    module = open_clip.model.CLIP(**config)
    tokenizer = SimpleTokenizer(
        bpe_path=str(root / "bpe.txt.gz"), context_length=config["text_cfg"]["context_length"]
    )
    stored = read_state(weights)
    fill(module, stored, f"model={label}")
    transform = open_clip.transform.image_transform(config["vision_cfg"]["image_size"], is_train=False)
    return open_clip_view(label, module, tokenizer, transform, stored, weights.name, DEFAULT, stand_in=True)


def load_open_clip(label: str, architecture: str, weights: str | None) -> Clip:
    """Load an open_clip architecture with a checkpoint file, a local folder or a pretrained tag.

    Raises:
        WeightsError: unknown architecture or tag, QuickGELU mismatch, missing weights, or tensors that do not
        fit.
    """
    config = open_clip.get_model_config(architecture)
    if config is None:
        near = ", ".join(nearest(architecture, open_clip.list_models()))
        raise WeightsError(
            f"model.architecture: open_clip has no '{architecture}'", found=near and f"near: {near}"
        )
    path = resolve_weights(architecture, weights)
    check_activation(architecture, bool(config.get("quick_gelu")), path, weights)
    module, _, transform = open_clip.create_model_and_transforms(
        architecture, pretrained=None, **preprocessing(architecture, path, weights)
    )
    stored = read_state(path)
    fill(module, stored, f"model.weights='{path.name}' in model.architecture={architecture}")
    tokenizer = open_clip.get_tokenizer(architecture)
    model = open_clip_view(
        label, module, tokenizer, transform, stored, path.name, architecture, stand_in=False
    )
    model.salt = open_clip_salt(architecture, path, weights)
    return model


def resolve_weights(architecture: str, weights: str | None) -> Path:
    """Return the file or folder that `model.weights` means; a tag is looked up in the hub's cache, then
    fetched.
    """
    if not weights:
        raise WeightsError("model.weights: no weights given", fix=NO_WEIGHTS)
    path = Path(weights).expanduser()
    if path.exists():
        return path
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if weights not in tags:
        near = nearest(weights, tags) or tags[:4]
        raise WeightsError(
            f"model.weights: '{weights}' is neither a file or folder nor a tag of {architecture}",
            allowed=f"a path, or a tag such as {', '.join(near)}",
            fix=NO_WEIGHTS,
        )
    try:
        return Path(open_clip.download_pretrained(open_clip.get_pretrained_cfg(architecture, weights)))
    except Exception as error:  # hub, network and disk raise their own kinds; all mean: no weights
        raise WeightsError(
            f"model.weights={weights}: the checkpoint of {architecture} is not on this machine and could "
            "not be fetched",
            found=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}",
            fix=NO_WEIGHTS,
        ) from error


def check_activation(architecture: str, is_quick: bool, path: Path, weights: str | None) -> None:
    """Refuse weights trained with the other activation function; the wrong one still runs and silently loses
    accuracy.

    A checkpoint tells by its tag, by its released file name, or by the configuration beside it; one that
    tells nothing passes.
    """
    expected = trained_with_quick_gelu(architecture, path, weights)
    if expected is None or expected == is_quick:
        return
    right = architecture.removesuffix("-quickgelu") if is_quick else f"{architecture}-quickgelu"
    kind = {True: "QuickGELU", False: "GELU"}
    raise WeightsError(
        f"model.architecture={architecture} uses {kind[is_quick]}, model.weights='{weights}' was trained "
        f"with {kind[expected]}",
        found=f"weights want {right}",
        fix=f"set model.architecture={right}",
    )


def trained_with_quick_gelu(architecture: str, path: Path, weights: str | None) -> bool | None:
    """Return whether a checkpoint was trained with QuickGELU, None if nothing tells."""
    config = _folder_config(path)
    if config is not None:
        return bool(config.get("model_cfg", {}).get("quick_gelu"))
    entry = released_as(architecture, path, weights)
    if entry is not None:
        return bool(entry.get("quick_gelu"))
    return True if "quickgelu" in path.name.lower() else None


def released_as(architecture: str, path: Path, weights: str | None) -> dict[str, Any] | None:
    """Return open_clip's entry of a tag, or of a file that still has its released name; looks at the
    QuickGELU sibling too.
    """
    plain = architecture.removesuffix("-quickgelu")
    for name in (architecture, plain, f"{plain}-quickgelu"):
        for tag in open_clip.list_pretrained_tags_by_model(name):
            entry: dict[str, Any] = open_clip.get_pretrained_cfg(name, tag)
            is_tag = tag == weights and name == architecture
            if is_tag or (entry.get("url") and Path(entry["url"]).name == path.name):
                return entry
    return None


def preprocessing(architecture: str, path: Path, weights: str | None) -> dict[str, Any]:
    """Return the keywords that make open_clip's transform the one a checkpoint was trained with; none if
    nothing tells.
    """
    found = (
        (_folder_config(path) or {}).get("preprocess_cfg") or released_as(architecture, path, weights) or {}
    )
    names = {
        "mean": "image_mean",
        "std": "image_std",
        "interpolation": "image_interpolation",
        "resize_mode": "image_resize_mode",
    }
    values = {word: found[name] for name, word in names.items() if found.get(name)}
    return {word: tuple(v) if isinstance(v, list) else v for word, v in values.items()}


def open_clip_salt(architecture: str, path: Path, weights: str | None) -> str:
    """Return, as one text, what decides answers beside the tensors: the architecture's configuration, how
    pictures are prepared, and the files beside the weights.
    """
    prepared = open_clip.transform.PreprocessCfg(
        **{word.removeprefix("image_"): v for word, v in preprocessing(architecture, path, weights).items()}
    )
    parts = {
        "config": open_clip.get_model_config(architecture),
        "pictures": asdict(prepared),
        "beside": salt_of(path) if path.is_dir() else "",
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _folder_config(path: Path) -> dict[str, Any] | None:
    file = path / "open_clip_config.json"
    if not path.is_dir() or not file.is_file():
        return None
    config: dict[str, Any] = json.loads(file.read_text())
    return config


def open_clip_view(
    label: str,
    module: Any,
    tokenizer: Any,
    transform: Any,
    stored: Mapping[str, Tensor],
    source: str,
    architecture: str,
    *,
    stand_in: bool,
) -> Clip:
    """Return an open_clip module behind the family's face. Raises WeightsError for towers without heads."""
    names = {n for n, _ in module.named_parameters()}
    text_prefix = (
        "text.transformer.resblocks."
        if any(n.startswith("text.") for n in names)
        else "transformer.resblocks."
    )
    if (
        "visual.transformer.resblocks.0.attn.in_proj_weight" not in names
        or f"{text_prefix}0.attn.in_proj_weight" not in names
    ):
        raise WeightsError(
            f"model.architecture={architecture}: its towers are not both transformers with attention heads",
            fix="choose a ViT architecture, for example model.architecture=ViT-B-32-quickgelu",
        )
    text_projection = next((n for n in ("text_projection", "text.text_projection") if n in names), None)
    specs = (
        (Tower.VISION, "visual.transformer.resblocks.", "visual.proj"),
        (Tower.TEXT, text_prefix, text_projection),
    )
    layouts = []
    for tower, prefix, projection in specs:
        blocks = list(module.get_submodule(prefix.rstrip(".")).children())
        attention = blocks[0].attn
        layouts.append(
            TowerLayout(
                tower=tower,
                prefix=prefix,
                layers=len(blocks),
                width=attention.embed_dim,
                heads=attention.num_heads,
                projection=projection if projection in names else None,
                names=OPEN_CLIP,
            )
        )
    trims = can_trim(module)
    return Clip(
        label=label,
        stand_in=stand_in,
        module=module.eval(),
        layouts=(layouts[0], layouts[1]),
        transform=transform,
        image_features=module.encode_image,
        text_features=encoder_of_trimmed(module) if trims else module.encode_text,
        tokenizer=trimming(tokenizer) if trims else tokenizer,
        stored=stored,
        source=source,
        architecture=architecture,
    )
