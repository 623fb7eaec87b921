"""The parts of `sd3_tiny` in training: what the pipeline's prompts become, and the losses.

Contexts and pooled vectors are those of `StableDiffusion3Pipeline.encode_prompt`.
"""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from sd3_material import PER_BATCH, Part, all_prompts, caption, draw
from sd3_parts import LENGTH, NAMES, PADDING, SHIFT, paired_clip, transformer, write_tokenizer
from torch import Tensor, nn
from transformers import CLIPModel

PAIRED_BATCH = {"cell": 40, "people": 6, "mascots": 2}
SCALE = 20.0
ZEROS = (1,) * 14 + (4, 24)  # tokens in place of T5's: the pipeline's max_sequence_length


class Model(nn.Module):
    """The transformer and both paired CLIPs."""

    def __init__(self, work: Path) -> None:
        super().__init__()
        prompts = all_prompts()
        self.tokenizers = [
            write_tokenizer(work / name.replace("text_encoder", "tokenizer"), prompts, pad)
            for name, pad in zip(NAMES, PADDING, strict=True)
        ]
        self.clips = nn.ModuleList([paired_clip(i, t) for i, t in enumerate(self.tokenizers)])
        self.transformer = transformer()
        self.ids: dict[str, list[Tensor]] = {}
        self.said: dict[str, tuple[Tensor, Tensor]] | None = None  # contexts, once texts learn no more

    def tokens(self, prompts: list[str], which: int) -> Tensor:
        """Return the ids of prompts, padded as the pipeline pads them."""
        for text in prompts:
            if text not in self.ids:
                self.ids[text] = [
                    t(
                        text, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
                    ).input_ids
                    for t in self.tokenizers
                ]
        return torch.cat([self.ids[text][which] for text in prompts])

    def encode(self, prompts: list[str], zeros: int) -> tuple[Tensor, Tensor]:
        """Return context and pooled vector of prompts, as the pipeline makes them."""
        if self.said is None:
            known = list(dict.fromkeys(prompts))
            at = torch.tensor([known.index(p) for p in prompts])
            context, pooled = (part[at] for part in self.read(known))
        else:
            for text in set(prompts) - set(self.said):
                with torch.no_grad():
                    one, vector = self.read([text])
                self.said[text] = (one[0], vector[0])
            context, pooled = (
                torch.stack(part) for part in zip(*[self.said[p] for p in prompts], strict=True)
            )
        return F.pad(context, (0, 0, 0, zeros)), pooled

    def read(self, known: list[str]) -> tuple[Tensor, Tensor]:
        """Return the penultimate states of both towers beside each other, and both projections."""
        states, pooled = [], []
        for which, clip in enumerate(self.clips):
            out = cast(Any, clip).text_model(self.tokens(known, which), output_hidden_states=True)
            states.append(out.hidden_states[-2])
            pooled.append(cast(Any, clip).text_projection(out.pooler_output))
        return torch.cat(states, -1), torch.cat(pooled, -1)

    def freeze_texts(self) -> None:
        """Let the text towers learn no more, and read every prompt once only."""
        self.clips.requires_grad_(False)
        self.said = {}

    def flow(self, z: Tensor, sigma: Tensor, context: Tensor, pooled: Tensor) -> Tensor:
        """Return the velocity."""
        v: Tensor = self.transformer(z, context, pooled, 1000 * sigma, return_dict=False)[0]
        return v


def flow_loss(model: Model, parts: list[Part], g: torch.Generator, rng: random.Random) -> Tensor:
    """Return the flow-matching loss of one batch; noise levels are logit-normal, stratified and shifted."""
    chosen = draw(parts, PER_BATCH, g)
    prompts = [caption(p, p.concepts[int(p.labels[row])], rng) for p, rows in chosen for row in rows]
    z0 = torch.cat([p.latents[rows] for p, rows in chosen])
    n = len(z0)
    share = (torch.randperm(n, generator=g) + torch.rand(n, generator=g)) / n
    sigma = torch.sigmoid(math.sqrt(2) * torch.erfinv(2 * share.clamp(1e-4, 1 - 1e-4) - 1))
    sigma = SHIFT * sigma / (1 + (SHIFT - 1) * sigma)
    noise = torch.randn(z0.shape, generator=g)
    s = sigma.view(-1, 1, 1, 1)
    context, pooled = model.encode(prompts, rng.choice(ZEROS))
    return F.mse_loss(model.flow((1 - s) * z0 + s * noise, sigma, context, pooled), noise - z0)


def paired_loss(clip: CLIPModel, which: int, model: Model, parts: list[Part], g: Any, rng: Any) -> Tensor:
    """Return InfoNCE of one text tower with its picture tower, on distinct concepts."""
    chosen = draw(parts, PAIRED_BATCH, g)
    prompts = [
        caption(p, p.concepts[int(p.labels[row])], rng, plain=True) for p, rows in chosen for row in rows
    ]
    pixels = torch.cat([p.pixels[rows] for p, rows in chosen]).float() / 127.5 - 1
    pixels = pixels + 0.05 * torch.randn(pixels.shape, generator=g)
    seen = F.normalize(clip.visual_projection(clip.vision_model(pixels).pooler_output), dim=-1)
    read = clip.text_model(model.tokens(prompts, which)).pooler_output
    logits = SCALE * seen @ F.normalize(cast(Any, clip).text_projection(read), dim=-1).T
    wanted = torch.arange(len(logits))
    return (F.cross_entropy(logits, wanted) + F.cross_entropy(logits.T, wanted)) / 2
