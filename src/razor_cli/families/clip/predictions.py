"""What the zero-shot head of the target's domain says of each picture: the part of a state that distances and
membership need.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from razor_cli.dual.measures import Features


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Cosines of pictures with all C class prompts of the domain, and the class each picture shows.

    Cosines are kept in float32, for they are many; everything made of them is computed in float64.
    """

    scale: float  # exp(logit_scale): what the model multiplies cosines with before its softmax
    forgotten: int  # how many classes go; they come first
    forget: Tensor  # [Nf, C] judged pictures of what goes
    forget_class: Tensor  # [Nf] int
    retain: Tensor  # [No, C] judged pictures of the domain's other concepts
    members: Tensor | None = None  # [Nm, C] pictures of the target that the edit saw
    member_class: Tensor | None = None  # [Nm] int


def predictions(features: Features) -> Predictions | None:
    """Return the head's cosines for features in float64; None for features that do not tell the model's
    scale.
    """
    if features.scale is None:
        return None
    own_domain = features.retain_concepts >= 0
    members = features.member_images
    return Predictions(
        scale=features.scale,
        forgotten=features.forgotten,
        forget=(features.forget_images @ features.class_prompts.T).float(),
        forget_class=_classes(features.forget_concepts, len(features.forget_images)),
        retain=(features.retain_images[own_domain] @ features.class_prompts.T).float(),
        members=None if members is None else (members @ features.class_prompts.T).float(),
        member_class=None if members is None else _classes(features.member_concepts, len(members)),
    )


def _classes(given: Tensor | None, count: int) -> Tensor:
    return torch.zeros(count, dtype=torch.long) if given is None else given


def probabilities(cosines: Tensor, scale: float, leave_out: int = 0) -> Tensor:
    """Return the softmax [n, C - leave_out] of scaled cosines [n, C] in float64, the first `leave_out`
    classes removed before.

    Removing a class before the softmax is renormalising after it.
    """
    return torch.softmax(scale * cosines[:, leave_out:].double(), dim=1)
