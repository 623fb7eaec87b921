"""Losses of Tan & Gong's unlearning methods (arXiv 2506.11253, sections 4.1 and D) as pure functions of
logits.

Logits are logit scale x cosine, [n, C] over a list of class names; labels [n] number the class of each
picture. Every loss here is minimised. They are computed in fp32, also when the logits come from half
precision.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from razor_cli.dual.choices import FineMask, KlReduction, NpoReduction


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Return CE, the batch mean of -log softmax(logits)[label]."""
    return F.cross_entropy(logits.float(), labels)


def reference_kl(now: Tensor, reference: Tensor, reduction: KlReduction) -> Tensor:
    """Return KL(reference || now) of the softmax of two sets of logits [n, C] (eq. 5).

    `numel` divides the sum by n x C, C times less than a batch mean; the published weights assume it. Zero,
    with zero gradient, where both are equal. The reference gets no gradient.
    """
    before, after = reference.detach().float().log_softmax(dim=-1), now.float().log_softmax(dim=-1)
    total = F.kl_div(after, before, reduction="sum", log_target=True)
    return total / (now.numel() if reduction is KlReduction.NUMEL else len(now))


def kept_columns(labels: Tensor, classes: int, forgotten: int, mask: FineMask) -> Tensor:
    """Return the column numbers [n, K] that KL_f compares, for pictures of classes `labels`; 0:forgotten are
    those that go.
    """
    columns = torch.arange(classes, device=labels.device).expand(len(labels), classes)
    if mask is FineMask.FORGET_CLASSES:
        return columns[:, forgotten:]
    return columns[columns != labels[:, None]].view(len(labels), classes - 1)


def fine_kl(
    now: Tensor, reference: Tensor, labels: Tensor, *, forgotten: int, mask: FineMask, reduction: KlReduction
) -> Tensor:
    """Return KL_f: KL(reference || now) over the fine classes that stay, renormalised among them.

    The first `forgotten` of the C classes are those that go. `numel` divides by n x (classes compared).
    """
    columns = kept_columns(labels, now.shape[-1], forgotten, mask)
    return reference_kl(now.gather(1, columns), reference.gather(1, columns), reduction)


def npo(now: Tensor, reference: Tensor, labels: Tensor, *, beta: float, reduction: NpoReduction) -> Tensor:
    """Return NPO (eq. 7): -(2/beta) log sigmoid(beta (CE_now - CE_reference)), where CE grows as the class is
    forgotten.

    A picture's share in the gradient of -CE is 2 sigmoid(-beta (CE_now - CE_reference)): 1 at the reference,
    so that the first step is gradient ascent, and falling to 0 as the class is forgotten.
    """
    gap = F.cross_entropy(now.float(), labels, reduction="none")
    gap = gap - F.cross_entropy(reference.detach().float(), labels, reduction="none")
    if reduction is NpoReduction.BATCH:
        gap = gap.mean()
    return -2 / beta * F.logsigmoid(beta * gap).mean()


def negative_hinge(logits: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Return NHL: mean of max(0, margin + own logit - best other logit).

    Exactly zero, loss and gradient, for a picture whose best rival leads by `margin` or more. The own class
    is masked with minus infinity; the published code multiplies it by 0, which differs only where all rivals
    are negative.
    """
    logits = logits.float()
    own = logits.gather(1, labels[:, None])[:, 0]
    rival = logits.scatter(1, labels[:, None], float("-inf")).amax(dim=-1)
    return F.relu(margin + own - rival).mean()


def uniform_kl(logits: Tensor, epsilon: float = 1e-7) -> Tensor:
    """Return KL(U || p), the batch mean over pictures: least when every class is equally likely (maximising
    entropy).

    `epsilon` is added inside the logarithm as in the published code, so that a class that is all but
    impossible has a bounded pull.
    """
    p = logits.float().softmax(dim=-1)
    uniform = torch.full_like(p, 1 / p.shape[-1])
    return F.kl_div((p + epsilon).log(), uniform, reduction="batchmean")


def random_labels(labels: Tensor, classes: int, *, exclude_true: bool, generator: torch.Generator) -> Tensor:
    """Return uniformly drawn labels [n] for pictures of classes `labels` (eq. 6): never their own, or any of
    all.

    Raises ValueError when there is no other class to draw.
    """
    if not exclude_true:
        return torch.randint(classes, labels.shape, generator=generator).to(labels.device)
    if classes < 2:
        raise ValueError("a label other than the true one needs at least two classes")
    drawn = torch.randint(classes - 1, labels.shape, generator=generator).to(labels.device)
    return drawn + (drawn >= labels)


def negated(base: Tensor, tuned: Tensor, alpha: float) -> Tensor:
    """Return base - alpha (tuned - base), a task vector taken away; integer tensors stay as they are.

    alpha = 0 returns the base, alpha = -1 the tuned weights, both to the bit.
    """
    if not base.is_floating_point() or alpha == 0:
        return base.clone()
    return tuned.clone() if alpha == -1 else base - alpha * (tuned - base)
