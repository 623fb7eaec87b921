"""Steps over one set that several trained methods take: up the forget loss, down the retain loss."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from razor_cli.dual.choices import Ascended
from razor_cli.dual.desk import Desk
from razor_cli.dual.losses import assigned_cross_entropy, contrastive, forget_cosine
from razor_cli.dual.samples import Drawn
from razor_cli.engine.objective import Step
from razor_cli.engine.train_settings import Trained


def forget_steps(desk: Desk, batch: int, kind: Ascended, generator: torch.Generator) -> list[Step]:
    """Return steps that minimise minus the forget loss, so that they ascend it."""
    loss = forget_loss(desk, kind)
    return [
        Step(loss=lambda index=index: -loss(desk.forget.take(index)), pictures=len(index))  # type: ignore[misc]
        for index in desk.forget.shuffled(batch, generator)
    ]


def forget_loss(desk: Desk, kind: Ascended) -> Callable[[Drawn], Tensor]:
    """Return +L_f of a forget batch: 1 - cosine, the contrastive loss of the model (InfoNCE, sigmoid), or
    cross-entropy of the zero-shot head on true labels.
    """

    def loss(drawn: Drawn) -> Tensor:
        if kind is Ascended.CLASSIFIER_CE:
            return assigned_cross_entropy(desk.classes.logits(desk.encode_image(drawn.pixels)), drawn.labels)
        images, texts = desk.pairs(drawn)
        return (
            forget_cosine(images, texts)
            if kind is Ascended.COSINE
            else contrastive(images, texts, desk.scale, desk.bias)
        )

    return loss


def retain_steps(desk: Desk, method: Trained, generator: torch.Generator) -> list[Step]:
    """Return steps down L_r, the contrastive loss of retain pairs in batches (RAZOR eq. 4)."""

    def loss(drawn: Drawn) -> Tensor:
        images, texts = desk.pairs(drawn)
        return contrastive(images, texts, desk.scale, desk.bias)

    return [
        Step(loss=lambda index=index: loss(desk.retain.take(index)), pictures=len(index))  # type: ignore[misc]
        for index in desk.retain.shuffled(method.batch, generator, method.retain_sample)
    ]
