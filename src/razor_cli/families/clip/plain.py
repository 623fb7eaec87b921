"""A CLIP of two plain transformers (Radford et al. 2021), as open_clip builds the embedded stand-ins: the
same names, operations and bits, without that library, which loads torchvision and transformers and takes
longer than torch itself. Followed are the modules of open_clip/model.py and open_clip/transformer.py.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

MLP_RATIO = 4  # width of a block's MLP over that of the block
TEMPERATURE = 0.07  # that logit_scale begins with: ln(1 / temperature)


class ResidualAttentionBlock(nn.Module):
    """Attention and MLP, each behind a norm and added to what came in."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln_1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(width)
        parts = OrderedDict[str, nn.Module](
            c_fc=nn.Linear(width, MLP_RATIO * width),
            gelu=nn.GELU(),
            c_proj=nn.Linear(MLP_RATIO * width, width),
        )
        self.mlp = nn.Sequential(parts)

    def forward(self, hidden: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the hidden states [n, length, width] behind the block."""
        mask = attn_mask.to(hidden.dtype) if attn_mask is not None else None
        normed = self.ln_1(hidden)
        hidden = hidden + self.attn(normed, normed, normed, need_weights=False, attn_mask=mask)[0]
        found: Tensor = hidden + self.mlp(self.ln_2(hidden))
        return found


class Transformer(nn.Module):
    """Blocks one behind the other."""

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.resblocks = nn.ModuleList([ResidualAttentionBlock(width, heads) for _ in range(layers)])

    def forward(self, hidden: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the hidden states [n, length, width] behind the last block."""
        for block in self.resblocks:
            hidden = block(hidden, attn_mask=attn_mask)
        return hidden


class VisionTransformer(nn.Module):
    """The image tower: patches and a class token, whose last state is what is known of a picture."""

    def __init__(
        self, image_size: int, patch_size: int, width: int, layers: int, head_width: int, embed_dim: int
    ) -> None:
        super().__init__()
        scale, patches = width**-0.5, (image_size // patch_size) ** 2
        self.image_size = (image_size, image_size)
        self.conv1 = nn.Conv2d(3, width, kernel_size=patch_size, stride=patch_size, bias=False)
        self.class_embedding = nn.Parameter(scale * torch.randn(width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(patches + 1, width))
        self.ln_pre = nn.LayerNorm(width)
        self.transformer = Transformer(width, layers, width // head_width)
        self.ln_post = nn.LayerNorm(width)
        self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return image features [n, d] of pixels [n, 3, H, W], not normalised."""
        hidden = self.conv1(pixels).flatten(2).permute(0, 2, 1)
        first = self.class_embedding.view(1, 1, -1).expand(len(hidden), -1, -1)
        hidden = torch.cat([first.to(hidden.dtype), hidden], dim=1)
        hidden = self.ln_pre(hidden + self.positional_embedding.to(hidden.dtype))
        found: Tensor = self.ln_post(self.transformer(hidden))[:, 0] @ self.proj
        return found


class PlainClip(nn.Module):
    """The two towers; a text is known by the state of its last token, the one with the largest id."""

    text_pool_type = "argmax"

    def __init__(self, embed_dim: int, vision_cfg: Mapping[str, Any], text_cfg: Mapping[str, Any]) -> None:
        """Build both towers with random weights.

        Raises TypeError for a setting that only open_clip itself knows, KeyError for a size that is missing.
        """
        super().__init__()
        self.visual = VisionTransformer(**vision_cfg, embed_dim=embed_dim)
        own = dict(text_cfg)
        self.context_length, self.vocab_size = own.pop("context_length"), own.pop("vocab_size")
        width = own["width"]
        self.transformer = Transformer(**own)
        self.token_embedding = nn.Embedding(self.vocab_size, width)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(self.context_length, width))
        self.ln_final = nn.LayerNorm(width)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        mask = torch.full((self.context_length, self.context_length), -math.inf).triu_(1)
        self.register_buffer("attn_mask", mask, persistent=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / TEMPERATURE)))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return image features [n, d] of pixels [n, 3, H, W], not normalised."""
        found: Tensor = self.visual(pixels)
        return found

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return text features [n, d] of token ids [n, length], not normalised; length up to the context."""
        length = tokens.shape[1]
        hidden = self.token_embedding(tokens) + self.positional_embedding[:length]
        mask = self.get_buffer("attn_mask")[:length, :length]
        hidden = self.ln_final(self.transformer(hidden, attn_mask=mask))
        ends = hidden[torch.arange(len(tokens), device=tokens.device), tokens.argmax(dim=-1)]
        return ends @ self.text_projection
