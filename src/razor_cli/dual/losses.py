"""Losses of the dual encoder as pure functions of L2-normalised embeddings.

Every forget loss here is written so that *ascending* it forgets; g_f is always the gradient of +L_f and signs
are applied at the update only (sheet section 0).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pair_cosines(images: Tensor, texts: Tensor) -> Tensor:
    """Return s_i = <v_i, t_i> for images [n, d] and their texts [n, d]."""
    return (images * texts).sum(dim=-1)


def forget_cosine(images: Tensor, texts: Tensor) -> Tensor:
    """L_f = mean(1 - <v_i, t_i>) over forget pairs (RAZOR eq. 5); grows as the pairs come apart."""
    return (1 - pair_cosines(images, texts)).mean()


def concept_cross_entropy(
    images: Tensor, prompts: Tensor, target: int | Tensor, scale: float, forgotten: int = 1
) -> Tensor:
    """L_f = cross-entropy of forget images [n, d] towards the target among class prompts [k, d] (RAZOR eq. 9,
    12).

    `target` is the class of all images, or one class for each [n]. `forgotten` plays no part.
    """
    labels = torch.as_tensor(target, device=images.device).expand(len(images))
    return F.cross_entropy(scale * images @ prompts.T, labels)


def concept_uniform(
    images: Tensor, prompts: Tensor, target: int | Tensor, scale: float, forgotten: int = 1
) -> Tensor:
    """L_f = minus the cross-entropy of forget images [n, d] towards the uniform distribution over the other
    classes.

    The concept head's q_i is undefined in the paper; this reading takes it as "no class but the target, none
    preferred". While the target wins, the gradient lowers its logit against the mean of the others and does
    not fade as that of `concept_cross_entropy` does, which is all but zero for pictures that are recognised
    with certainty. When several classes go together they are the first `forgotten` ones, and no picture is
    sent to any of them.
    """
    logs = (scale * images @ prompts.T).log_softmax(dim=-1)
    if forgotten > 1:
        return logs[:, forgotten:].mean()
    own = torch.as_tensor(target, device=images.device).expand(len(images))
    others = torch.arange(len(prompts), device=images.device) != own[:, None]
    return logs[others].mean()


def concept_runner_up(
    images: Tensor, prompts: Tensor, target: int | Tensor, scale: float, forgotten: int = 1
) -> Tensor:
    """L_f = mean log-probability of the likeliest class but the target, of forget images [n, d] among class
    prompts [k, d]: equation 12 with all mass of q_i on the class that comes second.

    When several classes go together they are the first `forgotten` ones, and none of them comes second.
    """
    logs = (scale * images @ prompts.T).log_softmax(dim=-1)
    own = torch.as_tensor(target, device=images.device).expand(len(images))
    classes = torch.arange(len(prompts), device=images.device)
    gone = (classes == own[:, None]) | (classes < forgotten if forgotten > 1 else False)
    return logs.masked_fill(gone, -torch.inf).max(dim=-1).values.mean()


def concept_neutral(
    images: Tensor, prompts: Tensor, target: int | Tensor, scale: float, forgotten: int = 1
) -> Tensor:
    """L_f = mean log-probability of the last prompt, which names nobody, of forget images [n, d] among class
    prompts and that one [k + 1, d]: equation 12 with all mass of q_i on it.
    """
    return (scale * images @ prompts.T).log_softmax(dim=-1)[:, -1].mean()


def concept_margin(
    images: Tensor, prompts: Tensor, target: int | Tensor, scale: float, forgotten: int = 1
) -> Tensor:
    """L_f = mean of the other classes' logits minus the target's, of forget images [n, d] among class prompts
    [k, d].

    The concept head without a softmax: where the target wins this has the gradient of `concept_uniform`, but
    it keeps lowering the target once it has lost, where `concept_uniform` only levels the others. When
    several classes go together they are the first `forgotten` ones, and the others are those that stay.
    """
    logits = scale * images @ prompts.T
    own = torch.as_tensor(target, device=images.device).expand(len(images))
    mine = logits.gather(1, own[:, None])[:, 0]
    if forgotten > 1:
        return (logits[:, forgotten:].mean(dim=-1) - mine).mean()
    return ((logits.sum(dim=-1) - mine) / (len(prompts) - 1) - mine).mean()


def info_nce(images: Tensor, texts: Tensor, scale: float | Tensor) -> Tensor:
    """L_r = symmetric InfoNCE of a batch of n pairs at temperature 1/scale (RAZOR eq. 4); each pair is its
    own class.
    """
    logits = scale * images @ texts.T
    labels = torch.arange(len(images), device=images.device)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def sigmoid_terms(images: Tensor, texts: Tensor, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    """Return what each picture [n] adds to the sigmoid loss (Zhai et al. 2023, algorithm 1): over all n
    texts of its batch, the sum of minus the log-probability that picture and text belong together or do not.

    A text that several pictures share (equal rows of `texts`) belongs to each of them: there is no softmax in
    which it would stand beside itself, and as a negative it would pull its own pictures away.
    """
    _, numbers = torch.unique(texts.detach(), dim=0, return_inverse=True)
    signs = 2 * (numbers[:, None] == numbers).to(texts) - 1
    return -F.logsigmoid(signs * (scale * images @ texts.T + bias)).sum(dim=1)


def sigmoid_loss(images: Tensor, texts: Tensor, scale: float | Tensor, bias: float | Tensor) -> Tensor:
    """L_r of a model that was trained with the sigmoid loss: the mean of its terms over the pictures of a
    batch.
    """
    return sigmoid_terms(images, texts, scale, bias).mean()


def contrastive(
    images: Tensor, texts: Tensor, scale: float | Tensor, bias: float | Tensor | None = None
) -> Tensor:
    """Return the loss of a batch of pairs that the model was trained with: InfoNCE, or with a bias the
    sigmoid loss.
    """
    return info_nce(images, texts, scale) if bias is None else sigmoid_loss(images, texts, scale, bias)


def assigned_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of logits [n, k] towards labels [n], true or assigned (SalUn); 0 without
    pictures.
    """
    return F.cross_entropy(logits, labels) if len(labels) else logits.sum()


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Per-picture cross-entropy [n] of logits [n, k] towards target distributions [n, k]: -sum p log
    softmax(z) (LoTUS).
    """
    return -(targets * logits.log_softmax(dim=-1)).sum(dim=-1)


def mismatch(now: Tensor, before: Tensor, form: str) -> Tensor:
    """L_m over pairs with cosines `now` and frozen cosines `before` [n].

    signed: mean(now - before) (RAZOR eq. 6); squared: mean((now - before)^2), the anchor of Table 1 and eq.
    10, 13; abs: mean(|now - before|). Squared and abs have no gradient at now = before.
    """
    drift = now - before
    if form == "signed":
        return drift.mean()
    return (drift**2).mean() if form == "squared" else drift.abs().mean()
