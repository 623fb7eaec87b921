"""The kinds of model with two towers that a folder of transformers may hold, and what each has beside its
weights. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind: what its files may name, what its picture processor does where a file leaves it open, and
    the sizes of its towers where config.json does.
    """

    title: str
    processors: tuple[str, ...]
    tokenizers: tuple[str, ...]
    tokenizer_files: tuple[str, ...]  # one of these has to be there, or vocab.json with merges.txt
    pictures: Mapping[str, Any]
    sizes: Mapping[str, int]


CLIP = Kind(
    title="CLIP",
    processors=(
        "CLIPImageProcessor",
        "CLIPImageProcessorFast",
        "CLIPImageProcessorPil",
        "CLIPFeatureExtractor",
    ),
    tokenizers=("CLIPTokenizer", "CLIPTokenizerFast"),
    tokenizer_files=("tokenizer.json",),
    pictures={
        "do_resize": True,
        "size": {"shortest_edge": 224},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    },
    sizes={
        "patch": 32,
        "text_width": 512,
        "text_heads": 8,
        "words": 49408,
        "positions": 77,
        "projection": 512,
    },
)
# SigLIP, and the SigLIP 2 of one resolution, whose folders say the same.
SIGLIP = Kind(
    title="SigLIP",
    processors=("SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"),
    tokenizers=(
        "SiglipTokenizer",
        "Siglip2Tokenizer",
        "GemmaTokenizer",
        "GemmaTokenizerFast",
        "T5Tokenizer",
        "T5TokenizerFast",
        "PreTrainedTokenizerFast",
        "TokenizersBackend",
    ),
    tokenizer_files=("tokenizer.json", "spiece.model"),
    pictures={
        "do_resize": True,
        "size": {"height": 224, "width": 224},
        "resample": 3,
        "do_center_crop": False,
        "crop_size": {"height": 224, "width": 224},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    },
    sizes={"patch": 16, "text_width": 768, "text_heads": 12, "words": 32000, "positions": 64},
)
KINDS: Mapping[str, Kind] = {"clip": CLIP, "siglip": SIGLIP}
# Kinds that are known and not served: why, and what to take instead.
REFUSED: Mapping[str, tuple[str, str]] = {
    "siglip2": (
        "a SigLIP 2 of any resolution (NaFlex): each picture keeps its proportions and has patches of its "
        "own number, so that pictures have no common shape to be computed in",
        "give a SigLIP 2 of one resolution (siglip2-base-patch16-224 and its like): its model_type is siglip",
    )
}
