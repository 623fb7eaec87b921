"""What a loaded pipeline does beside its weights, found by trying and by reading its settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch

from razor_cli.families.clip.preparation import SENTENCES, SIZES, drawn
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.paired import Paired

TOKENIZERS = ("tokenizer", "tokenizer_2", "tokenizer_3")


def preparation_of(denoiser: Denoiser, paired: Mapping[str, Paired]) -> str:
    """Return the hash of the ids and pixels that a pipeline makes, of its schedule and the build of its nets,
    and of the CLIPs beside it.
    """
    pipeline = denoiser.pipeline
    said: dict[str, object] = {
        "kind": denoiser.kind,
        "dtype": str(denoiser.dtype),
        "tail": denoiser.tail,
        "schedule": denoiser.schedule(),
        "vae": {k: v for k, v in denoiser.vae.config.items() if not k.startswith("_")},
        "module": str(denoiser.module),
        "paired": {name: [p.preparation, p.digest] for name, p in paired.items()},
    }
    for name in TOKENIZERS:
        if (tokenizer := getattr(pipeline, name, None)) is not None:
            said[name] = [tokenizer(s, padding="max_length", truncation=True).input_ids for s in SENTENCES]
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    pixels = torch.cat([denoiser.preprocess([drawn(*size)]) for size in SIZES])
    digest.update(pixels.contiguous().numpy().tobytes())
    return digest.hexdigest()
