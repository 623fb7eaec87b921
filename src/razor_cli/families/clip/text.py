"""Texts without the padding behind them: a causal text tower cannot see it, and CLIP pads every text to 77
tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Tokenizer = Callable[[list[str]], Tensor]


def can_trim(module: Any) -> bool:
    """Return whether a text's embedding is that of its end token under a causal mask, so that padding behind
    it is idle.
    """
    reads_end = (
        getattr(module, "text_pool_type", None) == "argmax"
    )  # open_clip's CLIP alone says so of itself
    return reads_end and module.attn_mask is not None


def trimming(tokenizer: Tokenizer) -> Tokenizer:
    """Return a tokenizer that cuts its texts behind the last end token among them: [n, longest text]."""

    def tokenize(texts: list[str]) -> Tensor:
        tokens = tokenizer(texts)
        return tokens[:, : int(tokens.argmax(-1).max()) + 1] if len(tokens) else tokens

    return tokenize


def encoder_of_trimmed(module: Any) -> Callable[[Tensor], Tensor]:
    """Return an open_clip CLIP's text encoder for tokens [n, length], with length at most its context; not
    normalised.

    The same operations as the library's own, which takes texts of full length only.
    """

    def encode(tokens: Tensor) -> Tensor:
        length = tokens.shape[1]
        if length == module.context_length:
            found: Tensor = module.encode_text(tokens)
            return found
        dtype = module.transformer.get_cast_dtype()
        hidden = module.token_embedding(tokens).to(dtype) + module.positional_embedding[:length].to(dtype)
        hidden = module.transformer(hidden, attn_mask=module.attn_mask[:length, :length])
        ends = module.ln_final(hidden)[torch.arange(len(tokens), device=tokens.device), tokens.argmax(-1)]
        if module.text_projection is None:
            return ends
        linear = isinstance(module.text_projection, torch.nn.Linear)
        return module.text_projection(ends) if linear else ends @ module.text_projection

    return encode
