"""Which architectures of open_clip are served, judged from their configurations alone: no weights are read,
no network is asked and torch is not imported.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from razor_cli.errors import WeightsError, nearest
from razor_cli.families.clip.files import BESIDE_WEIGHTS, beside_weights, of_open_clip
from razor_cli.families.clip.served import HF_CONFIG, hf_folder, refusal
from razor_cli.families.clip.sizes import check_open_clip
from razor_cli.weights.json_file import read_json

HUB, FOLDER = "hf-hub:", "local-dir:"  # what open_clip puts before names that are none of its own
FOLDER_CONFIG = "open_clip_config.json"
TOKENIZER_SETTINGS = ("clean", "strip_sep_token")  # those that open_clip's own configurations use
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def configuration_of(architecture: str) -> dict[str, Any]:
    """Return the configuration of an architecture: of open_clip's own by name, or of a folder
    (`local-dir:FOLDER`). Raises WeightsError for a name that there is not, and for one of the hub.
    """
    if architecture.startswith(HUB):
        name = architecture.removeprefix(HUB)
        raise WeightsError(
            f"model.architecture={architecture}: models of the hub are not fetched by name",
            allowed=f"a name of open_clip, or {FOLDER}FOLDER",
            fix=f"download its files (hf download {name} --local-dir FOLDER), then "
            f"model.architecture={FOLDER}FOLDER model.weights=FOLDER",
        )
    if architecture.startswith(FOLDER):
        return _of_folder(_folder_of(architecture))
    package = importlib.util.find_spec("open_clip")
    roots = (package.submodule_search_locations if package else None) or []
    names = {file.stem: file for root in roots for file in Path(root, "model_configs").glob("*.json")}
    if architecture in names:
        return dict(json.loads(names[architecture].read_text(encoding="utf-8")))
    loaded: Any = sys.modules.get("open_clip")  # knows those that were added to it
    if loaded and (found := loaded.get_model_config(architecture)) is not None:
        return dict(found)
    near = ", ".join(nearest(architecture, names))
    raise WeightsError(
        f"model.architecture: open_clip has no '{architecture}'",
        found=near and f"near: {near}",
        fix="razor-run model=open_clip model.architecture=NAME, with a name of open_clip.list_models()",
    )


def _folder_of(architecture: str) -> Path:
    return Path(architecture.removeprefix(FOLDER)).expanduser()


def files_of(architecture: str) -> list[Path]:
    """Return the files that say how an architecture computes."""
    if architecture.startswith(FOLDER):
        return beside_weights(_folder_of(architecture))
    return of_open_clip(architecture)


def folder_preprocess(architecture: str) -> dict[str, Any]:
    """Return what a folder says of how pictures are prepared; nothing for other architectures."""
    if not architecture.startswith(FOLDER):
        return {}
    return dict(read_json(_folder_of(architecture) / FOLDER_CONFIG).get("preprocess_cfg") or {})


def library_name(architecture: str) -> str:
    """Return what open_clip itself calls an architecture: it does not know `~`."""
    return f"{FOLDER}{_folder_of(architecture)}" if architecture.startswith(FOLDER) else architecture


def _of_folder(folder: Path) -> dict[str, Any]:
    file = folder / FOLDER_CONFIG
    config = read_json(file).get("model_cfg")
    parts = [config.get(part) for part in ("vision_cfg", "text_cfg")] if isinstance(config, dict) else []
    if not isinstance(config, dict) or not all(isinstance(part, dict) for part in parts):
        raise WeightsError(f"{file} describes no model", found="no model_cfg with vision_cfg and text_cfg")
    settings = config["text_cfg"].get("tokenizer_kwargs") or {}
    if not isinstance(settings, dict) or not settings.keys() <= set(TOKENIZER_SETTINGS):
        raise WeightsError(
            f"{file}: text_cfg.tokenizer_kwargs is not followed",
            allowed=", ".join(TOKENIZER_SETTINGS),
            found=repr(settings)[:200],
        )
    if not isinstance(config["text_cfg"].get("hf_tokenizer_name") or "", str):
        raise WeightsError(f"{file}: text_cfg.hf_tokenizer_name is not a name")
    check_open_clip(file, config)
    return config


def has_bias(architecture: str) -> bool:
    """Tell whether an architecture adds a bias to its logits, which is what the sigmoid loss trains. Raises
    WeightsError for a name that there is not.
    """
    return configuration_of(architecture).get("init_logit_bias") is not None


def serves(config: Mapping[str, Any]) -> bool:
    """Tell whether the blocks of both towers are known, and what they are built from is on this machine."""
    return refusal(config) is None


def check_served(architecture: str, weights: str | None = None) -> dict[str, Any]:
    """Return the configuration of an architecture that is served and whose tokenizer is on this machine.
    Raises WeightsError for every other.
    """
    config = configuration_of(architecture)
    if (why := refusal(config)) is not None:
        raise WeightsError(f"model.architecture={architecture} is not served: {why[0]}", fix=why[1])
    repository = config["text_cfg"].get("hf_tokenizer_name")
    if repository and tokenizer_folder(architecture, weights) is None and not _is_cached(repository):
        raise WeightsError(
            f"model.architecture={architecture}: its tokenizer '{repository}' is not on this machine",
            fix=f"fetch it once where the hub can be reached: hf download {repository}",
        )
    return config


def tokenizer_folder(architecture: str, weights: str | None) -> Path | None:
    """Return the folder of weights or of an architecture that brings its own tokenizer, or None."""
    folder = _folder_of(architecture if architecture.startswith(FOLDER) else weights or "")
    brings = any((folder / name).is_file() for name in TOKENIZER_FILES)
    return folder if brings and (folder / FOLDER_CONFIG).is_file() else None


def fetched_tokenizer(architecture: str, weights: str | None) -> list[Path]:
    """Return the files of the tokenizer that an architecture takes from the hub's cache; none where it brings
    its own, or open_clip has it.
    """
    repository = configuration_of(architecture)["text_cfg"].get("hf_tokenizer_name")
    if not repository or tokenizer_folder(architecture, weights) is not None:
        return []
    return _cached(repository, BESIDE_WEIGHTS)


def fetched_config(architecture: str) -> list[Path]:
    """Return the file of the hub's cache that says what an architecture's text tower of transformers is, if
    any.
    """
    name = configuration_of(architecture)["text_cfg"].get("hf_model_name")
    folder = hf_folder(str(name)) if name else None
    return [folder / HF_CONFIG] if folder else []


def _is_cached(repository: str) -> bool:
    return bool(_cached(repository, TOKENIZER_FILES))


def _cached(repository: str, names: Sequence[str]) -> list[Path]:
    from huggingface_hub import try_to_load_from_cache

    try:
        found = [try_to_load_from_cache(repository, name) for name in names]
    except ValueError:  # not the name of a repository
        return []
    return [Path(file) for file in found if isinstance(file, str)]
