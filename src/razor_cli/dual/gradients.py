"""Gradients of the forget and the retain loss for all parameters in one pass over each set.

The gradient of a set is the mean over batches of batch-mean gradients. For the cosine loss that is the exact
full-set gradient when batches are equal; for InfoNCE it depends on the batch size, as negatives come from the
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.family import Named
from razor_cli.data.sets import Pairs
from razor_cli.dual.crops import training_crops
from razor_cli.dual.losses import contrastive
from razor_cli.dual.view import DualEncoder
from razor_cli.engine.train_settings import BIAS, SCALE

Loss = Callable[[Tensor, Tensor], Tensor]  # (images [n, d], texts [n, d]) -> scalar


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pixels [n, 3, H, W], distinct token rows [k, L], and the row of each picture's caption [n]."""

    pixels: Tensor
    tokens: Tensor
    rows: Tensor

    def __len__(self) -> int:
        return len(self.rows)


def batches(model: DualEncoder, pairs: Pairs, size: int) -> Iterator[Batch]:
    """Yield batches in order; every distinct caption of a batch is tokenised once. A rest of one picture is
    left out.
    """
    captions = pairs.captions
    for start in range(0, len(pairs), size):
        stop = min(start + size, len(pairs))
        if stop - start == 1 and start > 0:  # one pair has no negatives
            return
        numbers: dict[str, int] = {}
        rows = [numbers.setdefault(c, len(numbers)) for c in captions[start:stop]]
        images = pairs.load(start, stop)
        if pairs.crops is not None:
            images = training_crops(model, images, pairs.crops, start)
        yield Batch(
            pixels=model.preprocess(images),
            tokens=model.tokenize(list(numbers)),
            rows=torch.tensor(rows),
        )


def trainable(model: DualEncoder, params: Collection[str] | None = None) -> Named:
    """Return the parameters that have gradients taken: those of `params`, in the model's order; None: all but
    the logit scale and its bias.
    """
    wanted = None if params is None else set(params)
    return {
        n: p
        for n, p in model.module.named_parameters()
        if (n not in (SCALE, BIAS) if wanted is None else n in wanted)
    }


def batch_gradient(
    model: DualEncoder, batch: Batch, loss: Loss, only: Collection[str] | None = None
) -> Named:
    """Return the gradient of one batch's loss for the parameters `only`; zeros where one has no
    part in it.
    """
    params = trainable(model, only)
    with torch.enable_grad():
        images = model.encode_image(batch.pixels)
        texts = model.encode_text(batch.tokens)[batch.rows]
        value = loss(images, texts)
    found = torch.autograd.grad(value, list(params.values()), allow_unused=True)
    return {
        n: torch.zeros_like(p) if g is None else g for (n, p), g in zip(params.items(), found, strict=True)
    }


def cached_gradient(
    model: DualEncoder, batch: Batch, loss: Loss, chunk: int, only: Collection[str] | None = None
) -> Named:
    """Return the same gradient as `batch_gradient` in memory bounded by `chunk` pictures (gradient caching,
    Gao et al. 2021).

    First all embeddings without a graph, then the loss's gradient with respect to them, then each chunk again
    with a graph, against its share of that gradient.
    """
    params = trainable(model, only)
    parts = [slice(i, i + chunk) for i in range(0, len(batch), chunk)]
    with torch.no_grad():
        images = torch.cat([model.encode_image(batch.pixels[p]) for p in parts])
        texts = model.encode_text(batch.tokens)
    images.requires_grad_()
    texts.requires_grad_()
    with torch.enable_grad():
        value = loss(images, texts[batch.rows])
    to_images, to_texts = torch.autograd.grad(value, [images, texts])
    total = {n: torch.zeros_like(p) for n, p in params.items()}
    text_parts = [slice(i, i + chunk) for i in range(0, len(batch.tokens), chunk)]
    work: list[tuple[Callable[[Tensor], Tensor], Tensor, Tensor]]
    work = [(model.encode_image, batch.pixels[p], to_images[p]) for p in parts]
    work += [(model.encode_text, batch.tokens[p], to_texts[p]) for p in text_parts]
    for encode, inputs, seed in work:
        with torch.enable_grad():
            surrogate = (encode(inputs) * seed).sum()
        found = torch.autograd.grad(surrogate, list(params.values()), allow_unused=True)
        for name, gradient in zip(params, found, strict=True):
            if gradient is not None:
                total[name] += gradient
    return total


def split_gradient(
    model: DualEncoder, batch: Batch, loss: Loss, chunk: int, only: Collection[str] | None = None
) -> Named:
    """Return the gradient of a loss that is a mean over pictures, chunk by chunk, each weighted by its size.

    This serves losses that encode texts of their own, which gradient caching would not differentiate.
    """
    total: Named = {}
    for start in range(0, len(batch), chunk):
        part = Batch(
            pixels=batch.pixels[start : start + chunk],
            tokens=batch.tokens,
            rows=batch.rows[start : start + chunk],
        )
        share = len(part) / len(batch)
        for name, gradient in batch_gradient(model, part, loss, only).items():
            total[name] = total[name].add_(gradient, alpha=share) if name in total else gradient * share
    return total


def set_gradient(
    model: DualEncoder,
    pairs: Pairs,
    loss: Loss,
    size: int,
    chunk: int,
    tick: Callable[[int], None],
    *,
    separable: bool = False,
    only: Collection[str] | None = None,
) -> Named:
    """Return the mean of the batch gradients over a set, for the parameters `only` (None: all but the logit
    scale); `tick(n)` is told of every n pictures done.

    Batches above `chunk` are computed exactly in parts; `separable` says that the loss is a mean over
    pictures.
    """
    in_parts = split_gradient if separable else cached_gradient
    total: Named = {}
    count = 0
    for batch in batches(model, pairs, size):
        if len(batch) <= chunk:
            part = batch_gradient(model, batch, loss, only)
        else:
            part = in_parts(model, batch, loss, chunk, only)
        for name, gradient in part.items():
            if name in total:
                total[name] += gradient
            else:
                total[name] = gradient.clone()
        count += 1
        tick(len(batch))
    return {name: value / count for name, value in total.items()}


def retain_loss(scale: float, bias: float | None = None) -> Loss:
    """Return InfoNCE at a fixed scale, or the sigmoid loss at a fixed scale and bias."""
    return lambda images, texts: contrastive(images, texts, scale, bias)
