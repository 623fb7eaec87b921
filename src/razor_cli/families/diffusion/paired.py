"""The CLIP that belongs to a text encoder of a pipeline, as two towers with one space: its image tower, and
the pipeline's own encoder with the projection that was trained for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from razor_cli.contract.budget import Budget
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.dual.components import TowerLayout
from razor_cli.dual.view import Tower
from razor_cli.errors import WeightsError
from razor_cli.families.clip.hugging_face import load_hugging_face
from razor_cli.families.clip.preparation import preparation_of
from razor_cli.families.clip.tokens import PROBES
from razor_cli.families.diffusion.components import text_components, text_layouts
from razor_cli.families.diffusion.denoiser import Denoiser

ALIGNED = 0.99  # cosine between what the CLIP's own text tower says of a sentence and what the encoder says

FIX = (
    "model.companion=DIR with the CLIP that the text encoder comes from, or model.companion=null without one"
)


class HasDenoiser(Protocol):
    """A family under construction."""

    label: str
    denoiser: Denoiser


@dataclass(kw_only=True)
class Paired:
    """An image tower and a text encoder of a pipeline; parameters are those of the encoder, by their names in
    the pipeline.
    """

    label: str
    device: str
    name: str  # of the encoder in the pipeline
    module: nn.Module
    layout: TowerLayout
    vision: nn.Module  # what is left of the CLIP
    vision_blocks: Sequence[nn.Module]
    projection: nn.Module | None  # of texts; None: the encoder has its own
    scale: float
    transform: Callable[[Image.Image], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    alignment: float  # least cosine between the two text towers over a few sentences
    source: str = ""  # what the CLIP's folder is called
    digest: str = ""  # hash of the CLIP's files
    preparation: str = ""  # hash of what it makes of made-up input
    budget: Budget | None = None

    @property
    def bias(self) -> None:
        """Return None: the pair is a CLIP's, whose loss has no bias."""
        return

    @property
    def encoder(self) -> Any:
        """Return the text encoder, the pipeline's own."""
        return self.module.get_submodule(self.name)

    def blocks(self, tower: Tower) -> Sequence[nn.Module]:
        """Return the transformer blocks of a tower."""
        if tower is Tower.VISION:
            return self.vision_blocks
        return list(self.module.get_submodule(self.layout.prefix.rstrip(".")).children())

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components of the text encoder, in architecture order."""
        return text_components([self.layout], parameters(self), granularity, towers, include_projections)

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, H, W] as the image tower was trained on them."""
        return torch.stack([self.transform(i) for i in images])

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [n, length of the longest]."""
        return self.tokenizer(list(texts))

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return image embeddings [n, d] before they are normalised; differentiable."""
        vision: Any = self.vision
        pooled = vision.vision_model(pixel_values=pixels).pooler_output
        found: Tensor = vision.visual_projection(pooled)
        return found

    def text_features(self, tokens: Tensor) -> Tensor:
        """Return text embeddings [n, d] before they are normalised; differentiable."""
        said = self.encoder(input_ids=tokens)
        found: Tensor = said.text_embeds if self.projection is None else self.projection(said.pooler_output)
        return found

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d] in fp32."""
        return F.normalize(self.image_features(pixels.to(self.device)).float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d] in fp32."""
        return F.normalize(self.text_features(tokens.to(self.device)).float(), dim=-1)


def load_paired(family: HasDenoiser, name: str, folder: str | Path) -> Paired:
    """Return the CLIP of a folder of transformers as the pair of a text encoder. Raises WeightsError for one
    that is not aligned with it.
    """
    denoiser = family.denoiser
    clip = load_hugging_face(family.label, str(folder))
    encoder: Any = denoiser.encoders[name]
    _check_width(clip.module, encoder, name, folder)
    clip.module.to(denoiser.device, torch.float32).requires_grad_(False)
    holder = nn.Module()
    holder.add_module(name, encoder)
    module: Any = clip.module
    own, held = hasattr(encoder, "text_projection"), next(encoder.parameters()).dtype
    pair = Paired(
        label=family.label,
        device=denoiser.device,
        name=name,
        module=holder,
        layout=next(iter(text_layouts({name: encoder}))),
        vision=module,
        vision_blocks=clip.blocks(Tower.VISION),
        projection=None if own else copy.deepcopy(module.text_projection).to(held),
        scale=clip.scale,
        transform=clip.transform,
        tokenizer=clip.tokenizer,
        alignment=0.0,
        source=Path(folder).name,
        digest=clip.weights_hash(),
    )
    with torch.no_grad():
        tokens = clip.tokenizer(list(PROBES)).to(denoiser.device)
        theirs = F.normalize(clip.text_features(tokens).float(), dim=-1)
        pair.alignment = float((theirs * pair.encode_text(tokens)).sum(dim=-1).min())
    if not pair.alignment >= ALIGNED:
        raise WeightsError(
            f"model.companion: the CLIP in {folder} does not belong to the pipeline's {name}, their texts "
            "lie elsewhere",
            allowed=f"cosine {ALIGNED} or more between the two text towers over {len(PROBES)} sentences",
            found=f"{pair.alignment:.3f}",
            fix=FIX,
        )
    del module.text_model  # the pipeline's encoder is in its place, and gigabytes need not be held twice
    pair.preparation = preparation_of(pair, clip.architecture, clip.salt)
    return pair


def _check_width(clip: nn.Module, encoder: Any, name: str, folder: str | Path) -> None:
    """Refuse a CLIP whose text tower has another shape than the encoder."""
    theirs, own = (m.config.hidden_size for m in (clip.text_model, encoder))  # type: ignore[union-attr]
    if theirs != own:
        raise WeightsError(
            f"model.companion: the CLIP in {folder} does not belong to the pipeline's {name}, another size "
            "of text tower",
            allowed=f"width {own}",
            found=f"width {theirs}",
            fix=FIX,
        )
