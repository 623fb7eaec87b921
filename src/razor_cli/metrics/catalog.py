"""Names, units and directions of every metric: the one place that tables, reports and acceptance read them
from.
"""

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
        "M1 forget accuracy",
        "%",
        "down",
        "forget pictures that still pick the forget prompt; 50 is chance for two prompts",
    ),
    "m1_chance_gap": _info("|M1 - 50|", "points", "zero", "distance of the two-prompt M1 from chance"),
    "fa_top1": _info(
        "FA top-1", "%", "down", "forget pictures whose best class of the whole domain is the target"
    ),
    "fa_top5": _info(
        "FA top-5", "%", "down", "forget pictures with the target among their five best classes"
    ),
    "m2": _info(
        "M2 forget similarity", "cos x100", "down", "mean cosine of forget pictures with their prompt"
    ),
    "m3": _info(
        "M3 drift",
        "cos² x100",
        "zero",
        "mean squared change of picture-caption similarity since the reference state",
    ),
    "mia_auc": _info(
        "MIA AUC",
        "%",
        "chance",
        "how well a signal tells the target's pictures used in the edit from unused ones; 50 is not at all",
    ),
    "privleak": _info(
        "PrivLeak",
        "%",
        "zero",
        "MIA AUC relative to that of the model retrained without the target; above 0 leaks more than it",
    ),
    "rf_jsd": _info(
        "RF-JSD",
        "nats",
        "none",
        "mean prediction on pictures used in the edit against the base's on unused ones; 0 to 0.69",
    ),
    "oracle_jsd": _info(
        "Oracle JSD",
        "nats",
        "down",
        "divergence from the predictions of the model retrained without the target",
    ),
    "oracle_top1_agreement": _info(
        "Oracle agreement", "%", "up", "pictures with the same best class as the retrained model"
    ),
    "oracle_cos": _info(
        "Oracle cosine gap", "cos x100", "down", "mean absolute difference of picture-prompt cosines from its"
    ),
    "base_jsd": _info("Base JSD", "nats", "none", "divergence from the predictions of the unedited model"),
    "base_top1_agreement": _info(
        "Base agreement", "%", "none", "pictures with the same best class as the unedited model"
    ),
    "base_cos": _info(
        "Base cosine gap", "cos x100", "none", "mean absolute difference of picture-prompt cosines from its"
    ),
    "m4": _info(
        "M4 retain preference",
        "%",
        "up",
        "retain pictures that prefer the retain prompt over the forget prompt",
    ),
    "m4_drop": _info("M4 drop", "points", "down", "M4 of the reference minus M4 now, over the same pictures"),
    "m5": _info("M5 utility kept", "%", "up", "100 minus the absolute change of utility in points"),
    "util": _info(
        "Utility",
        "%",
        "up",
        "the utility that M5 compares: retrieval R@1 or two-prompt accuracy on retain pictures",
    ),
    "others_acc": _info(
        "Others' accuracy",
        "%",
        "up",
        "zero-shot accuracy on the domain's other concepts, each concept weighing the same",
    ),
    "others_acc_drop": _info(
        "Others' drop",
        "points",
        "down",
        "others' accuracy of the reference minus that now, over the same pictures",
    ),
    "others_worst": _info(
        "Worst other", "points", "down", "largest drop of a single other concept; the variant is its name"
    ),
    "concept_acc": _info(
        "Concept accuracy", "%", "up", "zero-shot accuracy on one other concept; the variant is its name"
    ),
    "zs": _info("Zero-shot accuracy", "%", "up", "top-1 accuracy on an unrelated task; named zs_<suite>"),
    "zs_drop": _info(
        "Zero-shot drop", "points", "down", "accuracy of the reference minus that now; named zs_<suite>_drop"
    ),
    "df_fine": _info(
        "D_f fine", "%", "down", "forgotten pictures whose own fine label is the best of all fine labels"
    ),
    "df_coarse": _info(
        "D_f coarse", "%", "up", "forgotten pictures whose parent is the best of all coarse labels"
    ),
    "dr_fine": _info(
        "D_r fine", "%", "up", "retained pictures whose own fine label is the best of all fine labels"
    ),
    "dr_coarse": _info(
        "D_r coarse", "%", "up", "retained pictures whose parent is the best of all coarse labels"
    ),
    "quality": _info(
        "Quality", "%", "up", "share of the base's fine accuracy on forgotten pictures that is gone"
    ),
    "utility": _info(
        "Utility kept", "%", "up", "mean share kept of the base's accuracy: D_r fine, D_r coarse, D_f coarse"
    ),
    "q_u": _info("Q-U", "%", "up", "harmonic mean of Quality and Utility"),
    "zero_shot": _info("Zero-shot mean", "%", "up", "plain mean of top-1 accuracy over the unrelated tasks"),
    "zero_shot_drop": _info(
        "Zero-shot drop", "points", "down", "zero-shot mean of the reference minus that now"
    ),
    "rec": _info(
        "Recovery",
        "fraction",
        "zero",
        "share of the forgetting that quantization undoes: 0 none, 1 all of it",
    ),
}


def metric_info(metric: str) -> MetricInfo | None:
    """Return what is known of a metric's name, `zs_<suite>` and `zs_<suite>_drop` included; None for an
    unknown name.
    """
    if metric.startswith("zs_"):
        return METRICS["zs_drop" if metric.endswith("_drop") else "zs"]
    return METRICS.get(metric)
