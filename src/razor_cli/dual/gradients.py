"""Gradients of the forget and the retain loss for all parameters in one pass over each set.

The gradient of a set is the mean over batches of batch-mean gradients. For the cosine loss that is the exact
full-set gradient when batches are equal; for InfoNCE it depends on the batch size, as negatives come from the
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from razor_cli.contract.budget import AT_ONCE
from razor_cli.contract.family import Named
from razor_cli.data.sets import Pairs
from razor_cli.dual.losses import contrastive
from razor_cli.dual.pixels import Listed, Pixels
from razor_cli.dual.view import DualEncoder
from razor_cli.engine.probe import rows_fit
from razor_cli.engine.train_settings import BIAS, SCALE

# (images [n, d], texts) -> scalar; texts are each picture's own [n, d], or the same ones for all of them
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class PictureLoss:
    """A loss that is a mean over pictures, each compared with its caption, or with the same `texts`."""

    of: Loss
    texts: Sequence[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Pixels [n, 3, H, W], distinct token rows [k, L], and the row of each picture's caption [n]; None: the
    texts are those of all pictures together.
    """

    pixels: Pixels
    tokens: Tensor
    rows: Tensor | None

    def __len__(self) -> int:
        return len(self.pixels)

    def texts(self, embedded: Tensor, part: slice = slice(None)) -> Tensor:
        """Return what a loss compares the pictures of a part with, from the rows' embeddings [k, d]."""
        return embedded if self.rows is None else embedded[self.rows[part]]


def bounds(count: int, size: int) -> list[tuple[int, int]]:
    """Return where the batches of so many pictures begin and end. A rest of one picture is left out."""
    edges = [(start, min(start + size, count)) for start in range(0, count, size)]
    return [(a, b) for a, b in edges if b - a > 1 or a == 0]  # one pair has no negatives


def batches(
    model: DualEncoder, pairs: Pairs, size: int, texts: Sequence[str] | None = None
) -> Iterator[Batch]:
    """Yield batches in order; every distinct caption of a batch is tokenised once, `texts` stand in the place
    of captions. Of a large batch pixels are loaded when they are used.
    """
    captions = pairs.captions
    shared = None if texts is None else model.tokenize(texts)
    for start, stop in bounds(len(pairs), size):
        numbers: dict[str, int] = {}
        rows = [numbers.setdefault(c, len(numbers)) for c in captions[start:stop]]
        listed = Listed(model, [pairs], start, stop)
        yield Batch(
            pixels=listed if len(listed) > AT_ONCE else listed[:],
            tokens=model.tokenize(list(numbers)) if shared is None else shared,
            rows=torch.tensor(rows) if shared is None else None,
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


class Sum:
    """Gradients of some parameters, added up where a pass backward leaves them: no pass holds its own
    beside the sum.
    """

    def __init__(self, params: Named) -> None:
        self.params = params

    def add(self, value: Tensor, *more: Tensor) -> None:
        """Add the gradient of a value; that for the tensors `more` goes to their own `grad`."""
        if value.requires_grad:
            torch.autograd.backward(value, inputs=[*self.params.values(), *more])

    def over(self, count: int) -> Named:
        """Return the sum over a count; zeros for parameters that had no part in it."""
        found = {}
        for name, param in self.params.items():
            found[name] = torch.zeros_like(param) if param.grad is None else param.grad.div_(count)
            param.grad = None
        return found


@contextmanager
def summing(model: DualEncoder, only: Collection[str] | None) -> Iterator[Sum]:
    """Give a sum of gradients; whatever gradients parameters had are theirs again afterwards."""
    params = trainable(model, only)
    before = {n: p.grad for n, p in params.items()}
    for param in params.values():
        param.grad = None
    try:
        yield Sum(params)
    finally:
        for name, param in params.items():
            param.grad = before[name]


def batch_gradient(
    model: DualEncoder, batch: Batch, loss: Loss, only: Collection[str] | None = None
) -> Named:
    """Return the gradient of one batch's loss for the parameters `only`; zeros where one has no
    part in it.
    """
    with summing(model, only) as total:
        _whole(model, batch, loss, total)
        return total.over(1)


def cached_gradient(
    model: DualEncoder,
    batch: Batch,
    loss: Loss,
    chunk: int,
    only: Collection[str] | None = None,
    *,
    separable: bool = False,
) -> Named:
    """Return the same gradient as `batch_gradient` in memory bounded by `chunk` pictures."""
    with summing(model, only) as total:
        _in_parts(model, batch, loss, chunk, total, separable)
        return total.over(1)


def _whole(model: DualEncoder, batch: Batch, loss: Loss, total: Sum) -> None:
    with torch.enable_grad():
        value = loss(model.encode_image(batch.pixels[:]), batch.texts(model.encode_text(batch.tokens)))
    total.add(value)


def _in_parts(model: DualEncoder, batch: Batch, loss: Loss, chunk: int, total: Sum, separable: bool) -> None:
    """Add the gradient of a batch, `chunk` pictures and texts at once (gradient caching, Gao et al. 2021).

    First all embeddings without a graph, then the loss's gradient with respect to them, then each chunk again
    with a graph, against its share of that gradient. A loss that is a mean over pictures is `separable`: its
    pictures go through the tower once.
    """
    parts = [slice(i, min(i + chunk, len(batch))) for i in range(0, len(batch), chunk)]
    with torch.no_grad():
        texts = torch.cat([model.encode_text(t) for t in batch.tokens.split(chunk)])
        images = None if separable else torch.cat([model.encode_image(batch.pixels[p]) for p in parts])
    texts.requires_grad_()
    if images is None:
        for p in parts:
            with torch.enable_grad():
                value = loss(model.encode_image(batch.pixels[p]), batch.texts(texts, p))
                value = value * ((p.stop - p.start) / len(batch))
            total.add(value, texts)
    else:
        images.requires_grad_()
        with torch.enable_grad():
            value = loss(images, batch.texts(texts))
        to_images, texts.grad = torch.autograd.grad(value, [images, texts], allow_unused=True)
        for p in parts if to_images is not None else ():
            with torch.enable_grad():
                value = (model.encode_image(batch.pixels[p]) * to_images[p]).sum()
            total.add(value)
    if (to_texts := texts.grad) is None:
        return
    size = min(chunk, _texts_at_once(model, batch.tokens, total))
    for tokens, seed in zip(batch.tokens.split(size), to_texts.split(size), strict=True):
        with torch.enable_grad():
            value = (model.encode_text(tokens) * seed).sum()
        total.add(value)


def _texts_at_once(model: DualEncoder, tokens: Tensor, total: Sum) -> int:
    """Return how many texts go backward at once; `chunk` was told by pictures, and a text may hold more."""
    yet = sum(p.nbytes for p in total.params.values() if p.grad is None)
    what = "texts of a gradient"
    return rows_fit(model.budget, what, model.encode_text, tokens, backward=True, held=yet)


def set_gradient(
    model: DualEncoder,
    pairs: Pairs,
    loss: Loss | PictureLoss,
    size: int,
    chunk: int,
    tick: Callable[[int], None],
    *,
    only: Collection[str] | None = None,
) -> Named:
    """Return the mean of the batch gradients over a set, for the parameters `only` (None: all but the logit
    scale); `tick(n)` is told of every n pictures done.

    Batches with more than `chunk` pictures or texts are computed exactly in parts.
    """
    count, mean = 0, isinstance(loss, PictureLoss)
    of, texts = (loss.of, loss.texts) if isinstance(loss, PictureLoss) else (loss, None)
    with summing(model, only) as total:
        for batch in batches(model, pairs, size, texts):
            if max(len(batch), len(batch.tokens)) <= chunk:
                _whole(model, batch, of, total)
            else:
                _in_parts(model, batch, of, chunk, total, mean)
            count += 1
            tick(len(batch))
        return total.over(count) if count else {}


def retain_loss(scale: float, bias: float | None = None) -> Loss:
    """Return InfoNCE at a fixed scale, or the sigmoid loss at a fixed scale and bias."""
    return lambda images, texts: contrastive(images, texts, scale, bias)
