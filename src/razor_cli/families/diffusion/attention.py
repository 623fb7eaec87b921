"""Attention that shows its probabilities: which words each place of a picture looks at.

The libraries' fused kernels never hold them. Here they are computed as such, by processors that stand in for
the libraries' own while a net is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from razor_cli.errors import RunError
from razor_cli.families.diffusion.denoiser import Denoiser
from razor_cli.families.diffusion.groups import joint_blocks, unet_blocks
from razor_cli.families.diffusion.kinds import Kind

See = Callable[[str, Tensor], None]  # a layer's name, probabilities [n, heads, places, what is looked at]


@dataclass(frozen=True)
class Plain:
    """Attention of a UNet's block: to the prompt, or of the picture to itself."""

    name: str
    see: See

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        **_: Any,
    ) -> Tensor:
        """Return what the attention puts out, after its probabilities were shown."""
        looked_at = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = (
            attn.head_to_batch_dim(layer(given))
            for layer, given in ((attn.to_q, hidden_states), (attn.to_k, looked_at), (attn.to_v, looked_at))
        )
        mask = attn.prepare_attention_mask(attention_mask, looked_at.shape[1], len(looked_at))
        probabilities: Tensor = attn.get_attention_scores(query, key, mask)
        self.see(self.name, probabilities.unflatten(0, (len(hidden_states), attn.heads)))
        found = attn.batch_to_head_dim(torch.bmm(probabilities, value))
        put_out: Tensor = attn.to_out[1](attn.to_out[0](found))
        return put_out


@dataclass(frozen=True)
class Joint:
    """Attention of SD3's block, of picture and prompt together; shown is what the picture sees of the
    prompt.
    """

    name: str
    see: See

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *_: Any, **__: Any
    ) -> tuple[Tensor, Tensor]:
        """Return what the attention puts out for picture and prompt, after its probabilities were shown."""
        places = hidden_states.shape[1]
        own = (attn.to_q, attn.norm_q), (attn.to_k, attn.norm_k), (attn.to_v, None)
        added = (
            (attn.add_q_proj, attn.norm_added_q),
            (attn.add_k_proj, attn.norm_added_k),
            (attn.add_v_proj, None),
        )
        query, key, value = (
            torch.cat([_heads(attn, *one, hidden_states), _heads(attn, *other, encoder_hidden_states)], dim=2)
            for one, other in zip(own, added, strict=True)
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        probabilities = scores.float().softmax(dim=-1).to(query.dtype)
        self.see(self.name, probabilities[:, :, :places, places:])
        found = (probabilities @ value).transpose(1, 2).flatten(2)
        picture, prompt = found[:, :places], found[:, places:]
        if not attn.context_pre_only:
            prompt = attn.to_add_out(prompt)
        return attn.to_out[1](attn.to_out[0](picture)), prompt


def _heads(attn: Any, layer: Any, norm: Any, given: Tensor) -> Tensor:
    """Return a projection by heads [n, heads, length, width]."""
    found: Tensor = layer(given).unflatten(2, (attn.heads, -1)).transpose(1, 2)
    return found if norm is None else norm(found)


@contextmanager
def watching(denoiser: Denoiser, see: See, own: See | None = None) -> Iterator[None]:
    """Tell `see` of every layer that a pass through the net asks of the prompt; `own`, of a UNet alone, of
    the layers in which the picture looks at itself. The processors that were there come back on leaving.
    """
    layers = list(_layers(denoiser, see, own))
    before = [attn.processor for attn, _ in layers]
    try:
        for attn, processor in layers:
            attn.processor = processor
        yield
    finally:
        for (attn, _), processor in zip(layers, before, strict=True):
            attn.processor = processor


def _layers(denoiser: Denoiser, see: See, own: See | None) -> Iterator[tuple[Any, Plain | Joint]]:
    if denoiser.kind is Kind.SD3:
        if own is not None:
            raise RunError("SD3 has no attention of a picture to itself alone", fix="watch a UNet")
        for name, block in joint_blocks(denoiser.core):
            yield block.attn, Joint(f"{name}.attn", see)
        return
    for name, block in unet_blocks(denoiser.core):
        yield block.attn2, Plain(f"{name}.attn2", see)
        if own is not None:
            yield block.attn1, Plain(f"{name}.attn1", own)
