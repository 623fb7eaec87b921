"""Names, units and directions of every metric: the one place that tables, reports and acceptance read them from."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """How a metric is printed. `direction` is down, up, zero, chance (50 %) or none."""

    title: str
    unit: str
    direction: str
    explanation: str


def _info(title: str, unit: str, direction: str, explanation: str) -> MetricInfo:
    return MetricInfo(title=title, unit=unit, direction=direction, explanation=explanation)


METRICS: dict[str, MetricInfo] = {
    "m1": _info(
        "M1 forget accuracy", "%", "down", "forget pictures that still pick the forget prompt; 50 is chance for two prompts"
    ),
    "m1_chance_gap": _info("|M1 - 50|", "points", "zero", "distance of the two-prompt M1 from chance"),
    "fa_top1": _info("FA top-1", "%", "down", "forget pictures whose best class of the whole domain is the target"),
    "fa_top5": _info("FA top-5", "%", "down", "forget pictures with the target among their five best classes"),
    "m2": _info("M2 forget similarity", "cos x100", "down", "mean cosine of forget pictures with their prompt"),
    "m3": _info("M3 drift", "cos² x100", "zero", "mean squared change of picture-caption similarity since the reference state"),
    "mia_auc": _info("MIA AUC", "%", "chance", "how well caption similarity tells pictures used in the edit from unused ones"),
    "m4": _info("M4 retain preference", "%", "up", "retain pictures that prefer the retain prompt over the forget prompt"),
    "m4_drop": _info("M4 drop", "points", "down", "M4 of the reference minus M4 now, over the same pictures"),
    "m5": _info("M5 utility kept", "%", "up", "100 minus the absolute change of utility in points"),
    "util": _info("Utility", "%", "up", "the utility that M5 compares: retrieval R@1 or two-prompt accuracy on retain pictures"),
    "others_acc": _info(
        "Others' accuracy", "%", "up", "zero-shot accuracy on the domain's other concepts, each concept weighing the same"
    ),
    "others_acc_drop": _info(
        "Others' drop", "points", "down", "others' accuracy of the reference minus that now, over the same pictures"
    ),
    "others_worst": _info("Worst other", "points", "down", "largest drop of a single other concept; the variant is its name"),
    "concept_acc": _info("Concept accuracy", "%", "up", "zero-shot accuracy on one other concept; the variant is its name"),
    "zs": _info("Zero-shot accuracy", "%", "up", "top-1 accuracy on an unrelated task; named zs_<suite>"),
    "zs_drop": _info("Zero-shot drop", "points", "down", "accuracy of the reference minus that now; named zs_<suite>_drop"),
    "rec": _info("Recovery", "fraction", "zero", "share of the forgetting that quantization undoes: 0 none, 1 all of it"),
}


def metric_info(metric: str) -> MetricInfo | None:
    """Return what is known of a metric's name, `zs_<suite>` and `zs_<suite>_drop` included; None for an unknown name."""
    if metric.startswith("zs_"):
        return METRICS["zs_drop" if metric.endswith("_drop") else "zs"]
    return METRICS.get(metric)
