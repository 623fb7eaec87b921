"""A CLIP model of open_clip or transformers as a family: two towers with one space, and
everything it offers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from razor_cli.contract.budget import Budget
from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Change, Companions, Say
from razor_cli.contract.quantizable import Quantizable
from razor_cli.data.sets import ConceptSets
from razor_cli.dual.board import DualBoard
from razor_cli.dual.components import Layout, every_tensor, list_components, siblings_of
from razor_cli.dual.named_losses import DualLoss, dual_loss
from razor_cli.dual.quantizable import quantizable_of
from razor_cli.dual.view import Tower
from razor_cli.engine.train_settings import BIAS
from razor_cli.families.clip.companions import load_companions
from razor_cli.families.clip.fit import weights_digest
from razor_cli.families.clip.preparation import preparation_of
from razor_cli.weights.beside import CompanionFiles
from razor_cli.weights.resident import page_out

if TYPE_CHECKING:
    from razor_cli.families.clip.exam import ClipExam


@dataclass(kw_only=True)
class Clip:
    """One loaded CLIP model. Computation is fp32; `storage` names the dtype each tensor has in its file."""

    label: str
    stand_in: bool
    module: nn.Module
    layouts: tuple[Layout, Layout]  # vision, text
    image_features: Callable[[Tensor], Tensor]
    text_features: Callable[[Tensor], Tensor]
    transform: Callable[[Image.Image], Tensor]
    tokenizer: Callable[[list[str]], Tensor]
    stored: Mapping[str, Tensor]  # the checkpoint's tensors as stored: what patches and hashes refer to
    source: str  # file name, tag or folder name, without the path
    architecture: str
    beside: CompanionFiles = field(default_factory=CompanionFiles)
    salt: str = ""  # hash of what else decides answers: configuration, tokenizer, processor
    device: str = "cpu"
    budget: Budget | None = None
    _hash: str | None = field(default=None, init=False)
    _preparation: str | None = field(default=None, init=False)

    @property
    def scale(self) -> float:
        """Return exp(logit_scale)."""
        return float(self.module.get_parameter("logit_scale").data.exp())

    @property
    def bias(self) -> float | None:
        """Return logit_bias of a model that was trained with the sigmoid loss, None of one without."""
        found = dict(self.module.named_parameters()).get(BIAS)
        return None if found is None else float(found.detach())

    def blocks(self, tower: Tower) -> Sequence[nn.Module]:
        """Return the transformer blocks of a tower."""
        layout = self.layouts[0 if tower is Tower.VISION else 1]
        return [self.module.get_submodule(name) for name in layout.block_modules]

    def components(
        self, granularity: Granularity, towers: Towers, include_projections: bool = False
    ) -> list[Component]:
        """Return disjoint components in architecture order."""
        return list_components(self.layouts, parameters(self), granularity, towers, include_projections)

    def tensors(self) -> list[Component]:
        """Return one component for each parameter, biases, embeddings and logit scale included, named like
        it.
        """
        return every_tensor(self.layouts, parameters(self))

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Return pixels [n, 3, H, W] as the model's evaluation transform makes them."""
        return torch.stack([self.transform(i) for i in images])

    def tokenize(self, texts: Sequence[str]) -> Tensor:
        """Return token ids [n, length of the longest]."""
        return self.tokenizer(list(texts))

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d]."""
        return F.normalize(self.image_features(pixels.to(self.device)), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d]."""
        return F.normalize(self.text_features(tokens.to(self.device)), dim=-1)

    def linear_weights(self, tower: Tower) -> list[str]:
        """Return the names of all attention and MLP weights of a tower's blocks."""
        return self.layouts[0 if tower is Tower.VISION else 1].matrices()

    def quantizable(self) -> Quantizable:
        """Return what quantization covers."""
        parts = {
            t: [self.module.get_submodule(n) for n in x.parts]
            for t, x in zip(Tower, self.layouts, strict=True)
        }
        return quantizable_of(self, {t: self.linear_weights(t) for t in Tower}, parts)

    def siblings(self, component: Component) -> list[Component]:
        """Return the tensors of a block that belong together with one, itself included."""
        every = self.components(Granularity.TENSOR, Towers.BOTH)
        return siblings_of(component, every, self.layouts)

    def loss(self, name: str, sets: ConceptSets) -> DualLoss:
        """Return a loss by name (dual/named_losses.py). Raises ConfigError that lists the names there are."""
        return dual_loss(self, sets, name)

    def board(
        self, sets: ConceptSets, settings: Any, cost: Cost, *, fast: bool, cache: Any = None
    ) -> DualBoard:
        """Return the scoreboard over the validation set."""
        return DualBoard(self, sets, cost, fast=fast)

    def exam(self, sets: ConceptSets, settings: Any, cache: Any, say: Say) -> ClipExam:
        """Return the evaluation over the evaluation set."""
        from razor_cli.families.clip.exam import ClipExam

        return ClipExam(model=self, sets=sets, settings=settings, cache=cache, say=say)

    def dual(self, tower: str = "") -> Clip:
        """Return the two towers: the model itself."""
        return self

    def within(self, budget: Budget) -> None:
        """Keep to a budget from now on."""
        self.budget = budget

    def companions(self, target: str) -> Companions:
        """Return the models that a run on this target is held against."""
        return load_companions(self, target, self.beside)

    def without_effect(self, change: Change, sets: ConceptSets) -> None:
        """Return None: an edit that finds nothing to change is a result here, and its log says why."""
        return

    def storage_dtype(self, name: str) -> torch.dtype:
        """Return the dtype a parameter has in its file (fp32 for weights that were never stored)."""
        return self.stored[name].dtype if name in self.stored else torch.float32

    def weights_hash(self) -> str:
        """Return the hash of the checkpoint as stored, and of the architecture."""
        if self._hash is None:
            self._hash = weights_digest(self.architecture, self.stored, self.salt)
            page_out(self.stored.values())
        return self._hash

    def preparation(self) -> str:
        """Return the hash of what this model makes of a picture and a few sentences, and of how it computes
        beside its weights.
        """
        if self._preparation is None:
            self._preparation = preparation_of(self, self.architecture, self.salt, self.layouts)
        return self._preparation
