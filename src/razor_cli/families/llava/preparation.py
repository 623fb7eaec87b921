"""What a loaded LLaVA does beside its weights, found by trying and by reading its settings."""

from __future__ import annotations

import hashlib
import json

from razor_cli.families.clip.preparation import SENTENCES, SIZES, drawn
from razor_cli.families.clip.preparation import preparation_of as of_towers
from razor_cli.families.llava.held import InMemory
from razor_cli.families.llava.load import OnDisk
from razor_cli.families.llava.prompts import Prompts
from razor_cli.families.llava.tower import SharedTower

SHORT = 3  # sentences that are no longer than a prompt may be


def preparation_of(disk: OnDisk | InMemory, shared: SharedTower, beside: str) -> str:
    """Return the hash of the pixels, prompts and ids that a model makes, of how it is held, and of the CLIP
    beside its image tower.
    """
    prompts = Prompts(disk.processor, [disk.processor.tokenizer.eos_token_id])
    said = {
        "variant": disk.files.variant,
        "dtype": str(disk.dtype),
        "language": disk.language,
        "config": disk.module.config.to_dict(),
        "ends": disk.module.generation_config.eos_token_id,
        "asked": [
            [prompts.prompt(s, shown), prompts.ids(s, shown)]
            for s in SENTENCES[:SHORT]
            for shown in (False, True)
        ],
        "between": prompts.between,
        "pool": [shared.pool, shared.tiles],
        "towers": of_towers(shared, beside),
    }
    digest = hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode())
    pictures = [drawn(*size) for size in SIZES]
    found = disk.processor.image_processor(images=pictures, return_tensors="pt")
    digest.update(found["pixel_values"].contiguous().numpy().tobytes())
    return digest.hexdigest()
