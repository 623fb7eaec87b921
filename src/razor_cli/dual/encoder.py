"""The two towers as a training sees them: in the precision of its settings, normalised, in fp32."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from razor_cli.data.sets import ConceptSets
from razor_cli.dual.view import DualEncoder
from razor_cli.engine.choices import Precision
from razor_cli.engine.lab import Lab
from razor_cli.engine.probe import rows_fit
from razor_cli.engine.train_settings import BIAS, SCALE, Training

STATES = 3  # of a weight that trains: its gradient, and the two means that AdamW keeps


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
        return self._in_parts("pictures of a training step", self._image, pixels)

    def encode_text(self, tokens: Tensor) -> Tensor:
        """Return L2-normalised text embeddings [n, d] in fp32; differentiable."""
        return self._in_parts("texts of a training step", self._text, tokens)

    def _image(self, pixels: Tensor) -> Tensor:
        with self._autocast():
            found = self.model.image_features(pixels.to(self.model.device))
        return F.normalize(found.float(), dim=-1)

    def _text(self, tokens: Tensor) -> Tensor:
        with self._autocast():
            found = self.model.text_features(tokens.to(self.model.device))
        return F.normalize(found.float(), dim=-1)

    def _in_parts(self, what: str, encode: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
        """Encode rows at once where the budget allows; else in parts whose activations are made again on the
        way back, which gives the same gradients whatever the loss.
        """
        if not torch.is_grad_enabled():
            return encode(rows)
        size = rows_fit(self.model.budget, what, encode, rows, backward=True, held=self._held())
        if len(rows) <= size:
            return encode(rows)
        parts: list[Tensor] = [
            checkpoint(encode, part, use_reentrant=False, preserve_rng_state=False)
            for part in rows.split(size)
        ]
        return torch.cat(parts)

    def _held(self) -> int:
        """Return the bytes that gradients and an optimiser's memory take beside the weights."""
        return STATES * sum(p.nbytes for p in self.model.module.parameters() if p.requires_grad)

    @property
    def scale(self) -> Tensor:
        """Return exp(logit_scale), differentiable where it trains."""
        return dict(self.model.module.named_parameters())[SCALE].exp()

    @property
    def bias(self) -> Tensor | None:
        """Return logit_bias, differentiable where it trains; None of a model without the sigmoid loss."""
        return dict(self.model.module.named_parameters()).get(BIAS)
