"""Pipelines of the hub by name: told from paths, found in the hub's cache, fetched. Imports no torch."""

from __future__ import annotations

import re
from pathlib import Path

from razor_cli.errors import headline
from razor_cli.families.diffusion.files import INDEX, T5, T5_TOKENIZER
from razor_cli.weights.model_files import refused

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
NETS = ("model_index.json", "*/*.json", "*/*.txt", "*/*.model", "*/*.safetensors")
UNUSED = ("safety_checker/*", "feature_extractor/*", "*.non_ema.*")
FILES = (".safetensors", ".ckpt", ".bin", ".pt", ".pth")


def is_hub_name(weights: str) -> bool:
    """Tell whether a text names a repository of the hub: `owner/name`, where no such path is begun here."""
    path = Path(weights).expanduser()
    begun = path.exists() or Path(path.parts[0]).exists() if path.parts else True
    return bool(NAME.fullmatch(weights)) and not begun and path.suffix not in FILES


def cached(name: str, file: str = INDEX) -> Path | None:
    """Return the folder of a repository in the hub's cache, or None where `file` of it is not there."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, file)
    return Path(found).parent if isinstance(found, str) else None


def fetched(name: str, *, variant: str | None, t5: bool) -> Path:
    """Return the folder of a pipeline of the hub, fetched where it is not in the cache. Raises WeightsError
    where the hub does not give it.
    """
    from huggingface_hub import snapshot_download

    left_out = [
        *UNUSED,
        *([] if variant else ["*.fp16.*"]),
        *([] if t5 else [f"{T5}/*", f"{T5_TOKENIZER}/*"]),
    ]
    try:
        return Path(snapshot_download(name, allow_patterns=list(NETS), ignore_patterns=left_out))
    except Exception as error:  # no network, no such repository, no licence accepted
        raise refused(
            f"'{name}' is no folder here, and the hub does not give it",
            found=headline(error),
            fix="model.weights=DIR with a folder of diffusers; a gated model wants `hf auth login` first",
        ) from error
