"""The vocabulary of `siglip_tiny`: byte pairs in the manner of Gemma, as SigLIP 2 has them, in small."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from standin_clip import all_concepts
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import Siglip2Tokenizer

from razor_cli.data.prompts import DOMAINS, spoken

CONTEXT, ENTRIES = 16, 900
SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"]


def corpus() -> list[str]:
    """Return every sentence that is trained or asked, in lower case."""
    texts = [
        p.format(spoken(c, d))
        for d, names in all_concepts().items()
        for c in names
        for p in (*DOMAINS[d].captions, *DOMAINS[d].zero_shot)
    ]
    return [t.lower() for t in [*texts, *(p.generic for p in DOMAINS.values())]]


def write_tokenizer(folder: Path) -> Any:
    """Learn the vocabulary, write tokenizer.json and tokenizer_config.json, and return the tokenizer.

    Words that were never met fall back to bytes, so that every text has ids of its own.
    """
    learner = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Metaspace(prepend_scheme="never"), pre_tokenizers.Punctuation()]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=ENTRIES,
        special_tokens=[*SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256))],
        initial_alphabet=[chr(c) for c in range(33, 127) if not chr(c).isupper()],
        show_progress=False,
    )
    learner.train_from_iterator(corpus(), trainer)
    import json

    said = json.loads(learner.to_str())["model"]
    tokenizer = Siglip2Tokenizer(
        vocab=said["vocab"],
        merges=[tuple(pair) for pair in said["merges"]],
        model_max_length=CONTEXT,
        padding_side="right",
    )
    end = tokenizer.eos_token_id
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <eos>", pair="$A <eos> $B <eos>", special_tokens=[("<eos>", end)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer
