"""The image tower of a LLaVA with the text tower of the CLIP it comes from, as two towers with one space.
Only the image tower and the projector can be edited; texts stay where they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from razor_cli.contract.budget import Budget
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.view import Tower
from razor_cli.errors import WeightsError
from razor_cli.families.clip.family import Clip
from razor_cli.families.llava.answerer import Pixels
from razor_cli.families.llava.components import Editable, components_of
from razor_cli.families.llava.kinds import Pool, Tiles, deepest

PROBED = 64  # pictures of a check whether tower and CLIP fit
TOWER_OF_CLIP = "vision_model."
ROUNDED = (torch.float32, torch.float16, torch.bfloat16)  # what files hold a tower in


class SharedTower:
    """Two towers; parameters are those of the LLaVA, by its names, and the CLIP's scale."""

    def __init__(
        self,
        *,
        label: str,
        llava: Any,
        processor: Any,
        companion: Clip,
        editable: Editable,
        pool: Pool = Pool.CLS,
        tiles: Tiles = Tiles.BASE,
    ) -> None:
        self.label, self.editable, self.pool, self.tiles = label, editable, pool, tiles
        self.budget: Budget | None = None
        self.tower, self.processor, self.companion = llava.model.vision_tower, processor, companion
        self.read = deepest(llava.config.vision_feature_layer, llava.config.vision_config.num_hidden_layers)
        self.next = hasattr(llava.config, "image_grid_pinpoints")
        self.device = str(self._first.device)
        own: Any = companion.module
        self.projection = own.visual_projection
        inner = nn.Module()
        inner.add_module("vision_tower", self.tower)
        inner.add_module("multi_modal_projector", llava.model.multi_modal_projector)
        self.module = nn.Module()
        self.module.add_module("model", inner)
        self.module.register_parameter("logit_scale", own.logit_scale)
        self.aligned = same_tower(self.tower, own.vision_model)  # to the bit, as far as the files tell

    @property
    def scale(self) -> float:
        """Return exp(logit_scale)."""
        return self.companion.scale

    @property
    def bias(self) -> float | None:
        """Return what the companion adds to scaled cosines."""
        return self.companion.bias

    @property
    def _first(self) -> Tensor:
        found: Tensor = self.tower.embeddings.patch_embedding.weight
        return found

    def blocks(self, tower: Tower) -> Sequence[nn.Module]:
        """Return the transformer blocks of a tower."""
        return list(self.tower.encoder.layers) if tower is Tower.VISION else self.companion.blocks(tower)

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components of what may be edited, in architecture order."""
        return components_of(self.editable, parameters(self), granularity, towers)

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, H, W] as the LLaVA takes them; where losses look at all tiles
        [n, tiles, 3, H, W], with nothing but zeros in those that a picture does not have.
        """
        found = self.processor.image_processor(images=list(images), return_tensors="pt")
        pixels: Tensor = found["pixel_values"]
        if not self.next:
            return pixels
        if self.tiles is Tiles.BASE:
            return Pixels(pixels, found["image_sizes"]).whole
        most = 1 + max(h * w for h, w in self.processor.image_processor.image_grid_pinpoints) // (
            pixels.shape[-1] * pixels.shape[-2]
        )
        return F.pad(pixels, (0, 0, 0, 0, 0, 0, 0, most - pixels.shape[1]))

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [n, length of the longest]."""
        return self.companion.tokenize(texts)

    def image_features(self, pixels: Tensor) -> Tensor:
        """Return image embeddings [n, d] before they are normalised; differentiable. Of several tiles the
        mean.
        """
        if pixels.ndim == 4:
            return self._embedded(pixels)
        there = pixels.flatten(2).any(dim=-1).to(pixels.device)
        rows = F.normalize(self._embedded(pixels.flatten(0, 1)), dim=-1).unflatten(0, pixels.shape[:2])
        return (rows * there[..., None]).sum(dim=1) / there.sum(dim=1, keepdim=True)

    def _embedded(self, pixels: Tensor) -> Tensor:
        given = pixels.to(self._first.device, self._first.dtype)
        if self.pool is Pool.CLS:
            pooled = self.tower(given).pooler_output
        else:
            states = self.tower(given, output_hidden_states=True).hidden_states[self.read]
            pooled = self.tower.post_layernorm(states[:, 1:].mean(dim=1))
        found: Tensor = self.projection(pooled.float())
        return found

    def text_features(self, tokens: Tensor) -> Tensor:
        """Return text embeddings [n, d] before they are normalised; the text tower is frozen."""
        return self.companion.text_features(tokens)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d] in fp32."""
        return F.normalize(self.image_features(pixels.to(self.device)).float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d] in fp32."""
        return F.normalize(self.text_features(tokens.to(self.device)).float(), dim=-1)

    @torch.no_grad()
    def check_aligned(self, sets: ConceptSets, least: float) -> tuple[float, float] | None:
        """Return the percent of retain pictures that this pair and the CLIP as a whole name rightly, or None
        where both are known to be the same. Raises WeightsError where the pair names fewer than the share
        `least` of what the CLIP does.
        """
        if self.aligned and self.pool is Pool.CLS:
            return None
        known = [p for p in sets.validation.retain.pictures if p.concept in sets.class_names][:PROBED]
        part = replace(sets.validation.retain, pictures=tuple(known))
        images, texts = (
            part.load(),
            self.encode_text(self.tokenize([sets.prompts[n] for n in sets.class_names])),
        )
        labels = torch.tensor([sets.class_names.index(p.concept) for p in known])

        def right(rows: Tensor) -> float:
            hits = (rows.cpu() @ texts.cpu().T).argmax(dim=-1) == labels
            return 100 * float(hits.float().mean())

        pair = right(self.encode_image(self.preprocess(images)))
        whole = right(self.companion.encode_image(self.companion.preprocess(images)))
        if pair < least * whole:
            raise WeightsError(
                f"model.companion: the image tower of {self.label} and the CLIP "
                f"'{self.companion.source}' do not "
                f"fit (model.vision_pool={self.pool})",
                allowed=f"{least * whole:.0f} % of {len(known)} retain pictures named, {least:g} of the "
                "CLIP's "
                f"own {whole:.0f} % (model.min_alignment)",
                found=f"{pair:.0f} %",
                fix="give the CLIP that the image tower comes from, or another model.vision_pool",
            )
        return pair, whole


def same_tower(mine: nn.Module, theirs: nn.Module) -> bool:
    """Tell whether two image towers have the same weights, as far as the coarser of their files tells."""
    own, other = dict(mine.named_parameters()), dict(theirs.named_parameters())
    if {n.removeprefix(TOWER_OF_CLIP) for n in own} != {n.removeprefix(TOWER_OF_CLIP) for n in other}:
        return False
    other = {n.removeprefix(TOWER_OF_CLIP): v for n, v in other.items()}
    return all(same_values(v, other[n.removeprefix(TOWER_OF_CLIP)].to(v.device)) for n, v in own.items())


def same_values(mine: Tensor, theirs: Tensor) -> bool:
    """Tell whether values are those of a tensor, perhaps rounded to a coarser dtype on their way."""
    return any(torch.equal(mine, theirs.to(d).to(mine.dtype)) for d in ROUNDED)
