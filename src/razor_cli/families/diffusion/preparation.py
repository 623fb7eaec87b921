"""What a loaded pipeline does beside its weights, found by trying and by reading its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch

from razor_cli.families.clip.preparation import SENTENCES, SIZES, drawn
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.paired import Paired
from razor_cli.weights.model_files import HISTORY

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


def preparation_of(denoiser: Denoiser, paired: Mapping[str, Paired]) -> str:
    """Return the hash of the ids and pixels that a pipeline makes, of its words, its schedule, the build and
    the settings of its nets, and of the CLIPs beside it.
    """
    pipeline = denoiser.pipeline
    said: dict[str, object] = {
        "kind": denoiser.kind,
        "dtype": str(denoiser.dtype),
        "tail": denoiser.tail,
        "schedule": denoiser.schedule(),
        "module": str(denoiser.module),
        "nets": {name: _settings(net) for name, net in denoiser.module.named_children()},
        "paired": {name: [p.preparation, p.digest] for name, p in paired.items()},
    }
    for name in TOKENIZERS:
        if (tokenizer := getattr(pipeline, name, None)) is not None:
            said[name] = [tokenizer(s, padding="max_length", truncation=True).input_ids for s in SENTENCES]
            said[f"words of {name}"] = sorted(tokenizer.get_vocab().items())
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    pixels = torch.cat([denoiser.preprocess([drawn(*size)]) for size in SIZES])
    digest.update(pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _settings(net: Any) -> dict[str, Any]:
    """Return the settings of a net: how many heads share a matrix is seen in none of its modules."""
    told = net.config.to_dict() if hasattr(net.config, "to_dict") else net.config
    return {k: v for k, v in told.items() if k not in HISTORY and not k.startswith("_")}
