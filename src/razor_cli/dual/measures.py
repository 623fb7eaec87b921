"""CLIP metrics of RAZOR §4.2 and SLUG as one value per picture, from embeddings. Torch only, no model, no
files.

Ties count as a fair coin would: half a win between two prompts, 1/k among k equal best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from razor_cli.errors import RunError


class SuiteFeatures(NamedTuple):
    """An unrelated zero-shot task: embeddings [n, d], class numbers [n], class prompts [k, d]."""

    images: Tensor
    labels: Tensor
    prompts: Tensor


class TracedFeatures(NamedTuple):
    """Judged pictures with fine and coarse labels (Tan & Gong 4.1), and the texts of both label lists,
    templates averaged.
    """

    forget_images: Tensor  # [Nf, d] pictures of fine classes that go
    forget_fine: Tensor  # [Nf] int, index into fine_prompts
    retain_images: Tensor  # [Nr, d] pictures of all other fine classes
    retain_fine: Tensor  # [Nr] int
    fine_prompts: Tensor  # [F, d]
    coarse_prompts: Tensor  # [C, d]
    parents: Tensor  # [F] int, index into coarse_prompts


@dataclass(frozen=True, kw_only=True)
class Features:
    """L2-normalised embeddings of one judged set under one state of a model, all of width d.

    `retain_caption_ids` numbers the distinct captions (equal caption, equal number); `retain_concepts` are
    indices into `class_names`, -1 for pictures of other domains. `member_*` are the target's pictures that
    the edit saw, for the membership test; without them it is not computed. Without `scale` nothing that needs
    probabilities is.
    """

    class_names: tuple[str, ...]  # C concepts of the target's domain, the target first
    class_prompts: Tensor  # [C, d]
    generic_prompt: Tensor  # [d]
    forget_images: Tensor  # [Nf, d]
    forget_captions: Tensor  # [Nf, d] each picture's own caption
    retain_images: Tensor  # [Nr, d]
    retain_captions: Tensor  # [Nr, d]
    retain_caption_ids: Tensor  # [Nr] int
    retain_concepts: Tensor  # [Nr] int
    retain_own_prompt: Tensor  # [Nr, d] prompt of each retain picture's own concept
    suites: Mapping[str, SuiteFeatures] = field(default_factory=dict)
    member_images: Tensor | None = None  # [Nm, d]
    member_captions: Tensor | None = None  # [Nm, d]
    scale: float | None = None  # exp(logit_scale) of the state, which makes logits of cosines
    forgotten: int = 1  # how many of the classes go; they come first
    forget_concepts: Tensor | None = None  # [Nf] int, index into class_names; None: all show concept 0
    member_concepts: Tensor | None = None  # [Nm] int, likewise
    traced: Mapping[str, TracedFeatures] = field(
        default_factory=dict
    )  # in | ood -> pictures with two-level labels

    def __post_init__(self) -> None:
        for name in ("forget_captions", "retain_captions", "retain_own_prompt"):
            images = getattr(self, name.split("_", maxsplit=1)[0] + "_images")
            if getattr(self, name).shape != images.shape:
                raise ValueError(
                    f"{name} has shape {tuple(getattr(self, name).shape)}, its pictures {tuple(images.shape)}"
                )
        if not len(self.class_names) == len(self.class_prompts):
            raise ValueError(
                f"{len(self.class_names)} class names but {len(self.class_prompts)} class prompts"
            )
        if not len(self.retain_concepts) == len(self.retain_caption_ids) == len(self.retain_images):
            raise ValueError("retain_concepts, retain_caption_ids and retain_images differ in length")
        for kind in ("forget", "member"):
            shown, pictures = getattr(self, f"{kind}_concepts"), getattr(self, f"{kind}_images")
            if shown is not None and (
                pictures is None or len(shown) != len(pictures) or not _within(shown, self.forgotten)
            ):
                raise ValueError(
                    f"{kind}_concepts must name one of the {self.forgotten} forgotten classes for each "
                    "picture"
                )
        if not len(self.forget_images) or not len(self.retain_images):
            raise ValueError("forget and retain pictures must not be empty")

    def exact(self) -> Features:
        """Return a copy in float64 on the CPU, rows normalised again, so that scores do not depend on the
        device.

        Raises RunError when a model's embeddings are not finite, ValueError when rows are not of unit length.
        """
        changes: dict[str, object] = {
            n: _unit(v, n) for n, v in vars(self).items() if isinstance(v, Tensor) and v.is_floating_point()
        }
        changes |= {
            n: v.cpu() for n, v in vars(self).items() if isinstance(v, Tensor) and not v.is_floating_point()
        }
        changes["suites"] = {
            n: SuiteFeatures(_unit(images, n), labels.cpu(), _unit(prompts, n))
            for n, (images, labels, prompts) in self.suites.items()
        }
        changes["traced"] = {
            n: TracedFeatures(*(_unit(v, n) if v.is_floating_point() else v.cpu() for v in t))
            for n, t in self.traced.items()
        }
        return replace(self, **changes)  # type: ignore[arg-type]


def retain_prompts(features: Features) -> dict[str, Tensor]:
    """Return q_retain [d] per reading of switch A19: the generic prompt, and the normalised mean of the
    retain class prompts.
    """
    prompts = {"generic": features.generic_prompt}
    if len(features.class_names) > features.forgotten:
        prompts["mean_of_classes"] = F.normalize(
            features.class_prompts[features.forgotten :].mean(dim=0), dim=0
        )
    return prompts


def forget_labels(features: Features) -> Tensor:
    """Return the class of each forget picture [Nf], an index into `class_names`."""
    if features.forget_concepts is not None:
        return features.forget_concepts
    return torch.zeros(len(features.forget_images), dtype=torch.long, device=features.forget_images.device)


def forget_prompt(features: Features) -> Tensor:
    """Return q_forget [d]; when several concepts go together, that of each forget picture's own concept [Nf,
    d].
    """
    return (
        features.class_prompts[0]
        if features.forgotten == 1
        else features.class_prompts[forget_labels(features)]
    )


def keep_wins(images: Tensor, own: Tensor, forgotten: Tensor) -> Tensor:
    """Return per picture [n] whether it prefers prompt `own` ([d] or [n, d]) to every forgotten concept's
    prompt [k, d].
    """
    if len(forgotten) == 1:
        return dual_wins(images, own, forgotten[0])
    margin = similarity(images, own) - (images @ forgotten.T).amax(dim=1)
    return (margin.sign() + 1) / 2 + 0 * margin


def dual_wins(images: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Return 1, ½ or 0 per picture [n]: whether it prefers prompt `own` to `other`, each [d] or one per
    picture [n, d].

    The sign of <image, own - other>, so exchanging the prompts gives exactly 1 minus it, and equal prompts
    exactly ½.
    """
    direction = own - other
    margin = images @ direction if direction.ndim == 1 else (images * direction).sum(dim=-1)
    return (margin.sign() + 1) / 2 + 0 * margin  # the sign of NaN is 0, a coin; the product keeps it NaN


def top_k_hits(images: Tensor, prompts: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return per picture [n] whether its class is among its k best prompts [C, d]."""
    return _among_best(images @ prompts.T, labels, k)


def _among_best(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    """Return per row [n] whether column `labels` is among the k best, equal scores sharing the places left.

    The own score is compared with the others of the same product, its own column left out: a score computed
    apart may differ from itself by rounding. NaN counts as beaten.
    """
    own = scores.gather(1, labels[:, None])
    above = (~(scores <= own)).sum(dim=1)
    ties = (scores == own).sum(dim=1) - 1
    return ((k - above) / (1 + ties)).clamp(0, 1).nan_to_num(0).to(scores.dtype)


def retrieval_hits(images: Tensor, captions: Tensor, caption_ids: Tensor) -> Tensor:
    """Return the mean of image-to-text and text-to-image R@1 per picture [n]; every picture of a caption is
    correct.

    The gallery of texts is the distinct captions, that of images all n pictures.
    """
    _, ids = torch.unique(caption_ids, return_inverse=True)
    order = torch.arange(len(ids), device=ids.device)
    first = torch.full((int(ids.max()) + 1,), len(ids), device=ids.device).scatter_reduce(
        0, ids, order, "amin"
    )
    scores = images @ captions[first].T
    to_text = _among_best(scores, ids, 1)
    best = scores == scores.amax(dim=0)
    right = best & (ids[:, None] == torch.arange(len(first), device=ids.device))
    to_image = (right.sum(dim=0) / best.sum(dim=0).clamp(min=1)).to(scores.dtype)
    return (to_text + to_image[ids]) / 2


def similarity(images: Tensor, texts: Tensor) -> Tensor:
    """Return the cosine of each picture with its own text [n, d], or with one text [d]."""
    return images @ texts if texts.ndim == 1 else (images * texts).sum(dim=-1)


def traced_hits(t: TracedFeatures) -> dict[str, Tensor]:
    """Return per picture whether its fine, and its coarse label is the best of the whole list."""
    hits = {}
    for part, images, fine in (
        ("df", t.forget_images, t.forget_fine),
        ("dr", t.retain_images, t.retain_fine),
    ):
        hits[f"{part}_fine"] = top_k_hits(images, t.fine_prompts, fine, 1)
        hits[f"{part}_coarse"] = top_k_hits(images, t.coarse_prompts, t.parents[fine], 1)
    return hits


def search_metrics(features: Features, base_util: float | None = None) -> dict[str, float]:
    """Return the few numbers a step search looks at, in printed units, as cheaply as they can be had.

    Keys: m1 (mean of classes), m1_generic, m2 (prompt), m4_generic, util (retrieval) and m5; `base_util` is
    the base's `util`, None when these features are the base. Without retain classes there is no mean of them,
    and no m1. No intervals, no copy to float64, one transfer from the device; NaN embeddings give NaN, and 0
    for `util`, never a good score.
    """
    target = forget_prompt(features)
    values = {
        "m1_generic": dual_wins(features.forget_images, target, features.generic_prompt).mean(),
        "m2": similarity(features.forget_images, target).mean(),
        "m4_generic": keep_wins(
            features.retain_images, features.generic_prompt, features.class_prompts[: features.forgotten]
        ).mean(),
        "util": retrieval_hits(
            features.retain_images, features.retain_captions, features.retain_caption_ids
        ).mean(),
    }
    prompts = retain_prompts(features)
    if "mean_of_classes" in prompts:
        values["m1"] = dual_wins(features.forget_images, target, prompts["mean_of_classes"]).mean()
    found = dict(zip(values, (100 * torch.stack(list(values.values()))).tolist(), strict=True))
    return found | {"m5": 100.0 if base_util is None else 100 - abs(found["util"] - base_util)}


def _within(classes: Tensor, count: int) -> bool:
    return bool(((classes >= 0) & (classes < count)).all())


def _unit(rows: Tensor, name: str) -> Tensor:
    rows = rows.detach().to(device="cpu", dtype=torch.float64)
    if not bool(torch.isfinite(rows).all()):
        raise RunError(
            f"the model's embeddings are not finite ({name})", fix="take a smaller step, or compute in fp32"
        )
    norms = rows.norm(dim=-1, keepdim=True)
    if bool(((norms - 1).abs() > 1e-2).any()):
        raise ValueError(
            f"{name} must be L2-normalised, found norms {float(norms.min()):.3f} to {float(norms.max()):.3f}"
        )
    return rows / norms
