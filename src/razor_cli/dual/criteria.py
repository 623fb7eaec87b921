"""What a step search looks at, in printed units (0 to 100), as cheaply as it can be had. No intervals."""

from __future__ import annotations

from razor_cli.dual.measures import (
    Features,
    dual_wins,
    forget_labels,
    forget_prompt,
    keep_wins,
    retain_prompts,
    search_metrics,
    similarity,
    top_k_hits,
)

Metrics = dict[str, float]
FORGET_METRICS = frozenset(["m1", "m1_generic", "margin", "margin_generic", "m2", "fa_top1", "fa_top5"])


def forget_metrics(features: Features) -> Metrics:
    """Return what forget pictures alone tell: m1 and margin against both retain prompts, m2, fa_top1,
    fa_top5.

    margin: mean of <v, q_forget> - <v, q_retain>, x 100; it moves long before the first picture changes
    sides.
    """
    target, labels = forget_prompt(features), forget_labels(features).to(features.forget_images.device)
    values = {}
    for name, prompt in retain_prompts(features).items():
        suffix = "" if name == "mean_of_classes" else "_generic"
        values["m1" + suffix] = dual_wins(features.forget_images, target, prompt).mean()
        values["margin" + suffix] = similarity(features.forget_images, target - prompt).mean()
    values["m2"] = similarity(features.forget_images, target).mean()
    for k in (1, 5):
        if k < len(features.class_names):
            values[f"fa_top{k}"] = top_k_hits(
                features.forget_images, features.class_prompts, labels, k
            ).mean()
    return {name: 100 * float(v) for name, v in values.items()}


def all_metrics(features: Features, base_util: float | None) -> Metrics:
    """Return the forget metrics with m4_generic, util, m5 and `others`, the accuracy on the other
    concepts.
    """
    found = search_metrics(features, base_util) | forget_metrics(features)
    own = features.retain_concepts >= 0
    if bool(own.any()):
        hits = top_k_hits(
            features.retain_images[own], features.class_prompts, features.retain_concepts[own], 1
        )
        found["others"] = 100 * float(hits.mean())
    return found


def upper_bounds(features: Features, seen: int) -> Metrics:
    """Return the largest m4_generic and `others` that are still possible after `seen` retain pictures; util
    and m5: 100.
    """
    total = len(features.retain_images)
    wins = keep_wins(
        features.retain_images[:seen], features.generic_prompt, features.class_prompts[: features.forgotten]
    )
    found = {"m4_generic": 100 * (float(wins.sum()) + total - seen) / total, "util": 100.0, "m5": 100.0}
    own = features.retain_concepts >= 0
    if bool(own.any()):
        early = own[:seen]
        images, labels = features.retain_images[:seen][early], features.retain_concepts[:seen][early]
        hits = (
            float(top_k_hits(images, features.class_prompts, labels, 1).sum()) if bool(early.any()) else 0.0
        )
        found["others"] = 100 * (hits + int(own.sum()) - int(early.sum())) / int(own.sum())
    return found
