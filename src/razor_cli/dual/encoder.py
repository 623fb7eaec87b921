"""The two towers as a training sees them: in the precision of its settings, normalised, in fp32."""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.data.sets import ConceptSets
from razor_cli.dual.view import DualEncoder
from razor_cli.engine.choices import Precision
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import BIAS, SCALE, Training


class Encoder:
    """Model and sets of one training. It encodes in the precision of the settings and returns fp32."""

    def __init__(self, lab: Lab, settings: Training) -> None:
        self.lab, self.settings = lab, settings
        self.model: DualEncoder = lab.dual()
        self.sets: ConceptSets = lab.sets

    def _autocast(self) -> AbstractContextManager[None]:
        device = torch.device(self.model.device).type
        wanted = self.settings.precision is Precision.BF16 or (
            self.settings.precision is Precision.AUTO and device == "cuda"
        )
        return torch.autocast(device, dtype=torch.bfloat16, enabled=wanted)

    def encode_image(self, pixels: Tensor) -> Tensor:
        """Return L2-normalised image embeddings [n, d] in fp32; differentiable."""
        with self._autocast():
            found = self.model.image_features(pixels.to(self.model.device))
        return F.normalize(found.float(), dim=-1)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d] in fp32; differentiable."""
        with self._autocast():
            found = self.model.text_features(tokens.to(self.model.device))
        return F.normalize(found.float(), dim=-1)

    @property
    def scale(self) -> Tensor:
        """Return exp(logit_scale), differentiable where it trains."""
        return dict(self.model.module.named_parameters())[SCALE].exp()

    @property
    def bias(self) -> Tensor | None:
        """Return logit_bias, differentiable where it trains; None of a model without the sigmoid loss."""
        return dict(self.model.module.named_parameters()).get(BIAS)
