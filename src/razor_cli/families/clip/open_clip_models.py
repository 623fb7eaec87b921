"""CLIP of open_clip: architectures with a tag, a file or a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg
from torch import Tensor

from razor_cli.dual.complete import check_complete
from razor_cli.errors import WeightsError, headline, nearest
from razor_cli.families.clip.architectures import (
    FOLDER,
    check_served,
    configuration_of,
    fetched_config,
    fetched_tokenizer,
    library_name,
    tokenizer_folder,
)
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.files import salt_of
from razor_cli.families.clip.fit import fill
from razor_cli.families.clip.open_clip_build import build_for
from razor_cli.families.clip.open_clip_folder import check_followed, folder_config, pictures_of
from razor_cli.families.clip.released import fetched
from razor_cli.families.clip.text import can_trim, encoder_of_trimmed, trimming
from razor_cli.families.clip.tokens import LARGEST, check_tokenizer, within
from razor_cli.families.clip.towers import layouts_of
from razor_cli.weights.checkpoint import read_state

NO_WEIGHTS = (
    "give a file or tag (model.weights=FILE_OR_TAG), let the hub be reached once so that the tag is cached, "
    "or use the embedded stand-in (model=clip_tiny)"
)


def load_open_clip(label: str, architecture: str, weights: str | None) -> Clip:
    """Load an open_clip architecture with a checkpoint file, a local folder or a pretrained tag.

    Raises:
        WeightsError: unknown architecture or tag, QuickGELU mismatch, missing weights, or tensors that do not
        fit.
    """
    config = check_served(architecture, weights)
    path = resolve_weights(architecture, weights)
    check_activation(architecture, bool(config.get("quick_gelu")), path, weights)
    check_followed(path, architecture, config)
    tokenizer = _tokenizer(architecture, config, weights)
    stored = read_state(path)
    what = f"model.weights='{path.name}' in model.architecture={architecture}"
    module = build_for(architecture, config, stored, what)
    fill(module, stored, what)
    tokenizer = _checked(module, tokenizer, f"model.architecture={architecture}")
    transform = _transform(module, preprocessing(architecture, path, weights, module.visual.image_size))
    model = open_clip_view(
        label, module, tokenizer, transform, stored, path.name, architecture, stand_in=False
    )
    model.salt = open_clip_salt(architecture, path, weights)
    return model


def _tokenizer(architecture: str, config: Mapping[str, Any], weights: str | None) -> Any:
    """Return the tokenizer of an architecture, from this machine only."""
    text = config["text_cfg"]
    named = text.get("hf_tokenizer_name")
    folder = tokenizer_folder(architecture, weights) if named else None
    try:
        if not named:
            own = library_name(architecture)
            return open_clip.get_tokenizer(own) if architecture.startswith(FOLDER) else _own_tokenizer(own)
        # By folder, not by name: a hub's cache that holds a tokenizer and no config.json cannot be read by
        # name
        return HFTokenizer(
            str(folder or fetched_tokenizer(architecture, weights)[0].parent),
            context_length=text.get("context_length", 77),
            tokenizer_mode=text.get("tokenizer_mode"),
            local_files_only=True,
            trust_remote_code=False,
            **(text.get("tokenizer_kwargs") or {}),
        )
    except Exception as error:  # the library's own, of files that are damaged or missing
        raise WeightsError(
            f"model.architecture={architecture}: its tokenizer '{folder or named}' cannot be read",
            found=headline(error),
            fix=f"fetch it again where the hub can be reached: hf download {named}",
        ) from error


@cache
def _own_tokenizer(architecture: str) -> Any:
    """Return a tokenizer that the library holds itself; it takes a while to build."""
    return open_clip.get_tokenizer(architecture)


def _transform(module: Any, said: Mapping[str, Any]) -> Any:
    """Return open_clip's transform of judged pictures, with what the model's files say of it."""
    settings = {**module.visual.preprocess_cfg, **said}
    return open_clip.transform.image_transform_v2(PreprocessCfg(**settings), is_train=False)


def _checked(module: Any, tokenizer: Any, what: str) -> Any:
    """Return a tokenizer after its ids were held against the text tower that reads them."""
    text = getattr(module, "text", module)
    rows = text.token_embedding.num_embeddings if hasattr(text, "token_embedding") else text.vocab_size
    found = within(tokenizer, rows, what)
    pooled, end = (
        getattr(module, f"text_{n}", None) or getattr(text, n, None) for n in ("pool_type", "eos_id")
    )
    appended = getattr(text, "cls_emb", None) is not None  # a token of the model's own is read instead
    reads = None if appended else {"argmax": LARGEST, "eos": end}.get(str(pooled))
    padded = getattr(getattr(text, "config", None), "pad_token_id", None)  # by text towers of transformers
    check_tokenizer(found, what, end=reads, pad=padded)
    return found


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
        return fetched(architecture, weights)
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
    config = folder_config(path)
    if config is not None:
        return bool((config.get("model_cfg") or {}).get("quick_gelu"))
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


def preprocessing(
    architecture: str, path: Path, weights: str | None, image_size: Any = None
) -> dict[str, Any]:
    """Return what is known of how a checkpoint's pictures are prepared, as fields of open_clip's
    PreprocessCfg; none if nothing tells.
    """
    if (folder_config(path) or {}).get("preprocess_cfg"):
        return pictures_of(path, image_size)
    found = released_as(architecture, path, weights) or sigmoid_release(architecture)
    names = ("mean", "std", "interpolation", "resize_mode")
    return {name: found[name] for name in names if found.get(name)}


def sigmoid_release(architecture: str) -> dict[str, Any]:
    """Return how the released checkpoints of a SigLIP take pictures (squashed to a square, mean and
    deviation a half): no file of that architecture, whatever it is called, takes them as a CLIP does.
    Nothing for other architectures.
    """
    if architecture.startswith(FOLDER) or configuration_of(architecture).get("init_logit_bias") is None:
        return {}
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    return dict(open_clip.get_pretrained_cfg(architecture, tags[0])) if tags else {}


def open_clip_salt(architecture: str, path: Path, weights: str | None) -> str:
    """Return, as one text, what decides answers beside the tensors: the architecture's configuration, how
    pictures are prepared, and the files beside the weights.
    """
    config = configuration_of(architecture)
    size = config["vision_cfg"].get("image_size", 224)
    parts = {
        "config": config,
        "pictures": asdict(PreprocessCfg(**preprocessing(architecture, path, weights, size))),
        "beside": salt_of(path) if path.is_dir() else "",
    }
    if fetched := fetched_tokenizer(architecture, weights):
        parts["tokenizer"] = salt_of(fetched[0].parent)
    if described := fetched_config(architecture):
        parts["text"] = described[0].read_text(encoding="utf-8")
    if architecture.startswith(FOLDER):  # whose tokenizer is used, wherever the weights lie
        parts["folder"] = salt_of(Path(library_name(architecture).removeprefix(FOLDER)))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


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
    """Return an open_clip module behind the family's face. Raises WeightsError for towers whose parts cannot
    be told.
    """
    trims = can_trim(module)
    tokenizer = _checked(module, tokenizer, f"model={label}")
    model = Clip(
        label=label,
        stand_in=stand_in,
        module=module.eval(),
        layouts=layouts_of(module),
        transform=transform,
        image_features=module.encode_image,
        text_features=encoder_of_trimmed(module) if trims else module.encode_text,
        tokenizer=trimming(tokenizer) if trims else tokenizer,
        stored=stored,
        source=source,
        architecture=architecture,
    )
    check_complete(model, model.layouts)
    return model
