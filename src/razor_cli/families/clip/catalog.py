"""CLIP's metrics: names, units, directions and what each of them is of."""

from __future__ import annotations

from dataclasses import replace

from razor_cli.metrics.info import MetricInfo, Role

FORGETTING, KEEPING, NEITHER = Role.FORGETTING, Role.KEEPING, Role.NEITHER


def _info(
    title: str, unit: str, direction: str, role: Role, explanation: str, *, from_base: bool = False
) -> MetricInfo:
    return MetricInfo(
        title=title, unit=unit, direction=direction, role=role, explanation=explanation, from_base=from_base
    )


METRICS = {
    "m1": _info(
        "M1 forget accuracy",
        "%",
        "down",
        FORGETTING,
        "forget pictures that still pick the forget prompt; 50 is chance for two prompts",
    ),
    "m1_drop": _info(
        "M1 drop",
        "points",
        "up",
        FORGETTING,
        "M1 of the reference minus M1 now, over the same pictures",
        from_base=True,
    ),
    # at 0 and at 100 it is the same, so that only M1 shows which way it went
    "m1_chance_gap": replace(
        _info("|M1 - 50|", "points", "zero", FORGETTING, "distance of the two-prompt M1 from chance"),
        shown_by="m1",
    ),
    "fa_top1": _info(
        "FA top-1",
        "%",
        "down",
        FORGETTING,
        "forget pictures whose best class of the whole domain is the target",
    ),
    "fa_top5": _info(
        "FA top-5", "%", "down", FORGETTING, "forget pictures with the target among their five best classes"
    ),
    "m1_name": _info(
        "M1 of a name",
        "%",
        "down",
        FORGETTING,
        "M1 against the generic prompt of one of several concepts that go; the variant is its name",
    ),
    "m2": _info(
        "M2 forget similarity",
        "cos x100",
        "down",
        FORGETTING,
        "mean cosine of forget pictures with their prompt",
    ),
    "m3": _info(
        "M3 drift",
        "cos² x100",
        "zero",
        KEEPING,
        "mean squared change of picture-caption similarity since the reference state",
    ),
    "mia_auc": _info(
        "MIA AUC",
        "%",
        "chance",
        FORGETTING,
        "how well a signal tells the target's pictures used in the edit from unused ones; 50 is not at all",
    ),
    "privleak": _info(
        "PrivLeak",
        "%",
        "zero",
        FORGETTING,
        "MIA AUC relative to that of the model retrained without the target; above 0 leaks more than it",
    ),
    "rf_jsd": _info(
        "RF-JSD",
        "nats",
        "none",
        NEITHER,
        "mean prediction on pictures used in the edit against the base's on unused ones; 0 to 0.69",
    ),
    "oracle_jsd": _info(
        "Oracle JSD",
        "nats",
        "down",
        NEITHER,
        "divergence from the predictions of the model retrained without the target",
    ),
    "oracle_top1_agreement": _info(
        "Oracle agreement", "%", "up", NEITHER, "pictures with the same best class as the retrained model"
    ),
    "oracle_cos": _info(
        "Oracle cosine gap",
        "cos x100",
        "down",
        NEITHER,
        "mean absolute difference of picture-prompt cosines from its",
    ),
    "base_jsd": _info(
        "Base JSD", "nats", "none", NEITHER, "divergence from the predictions of the unedited model"
    ),
    "base_top1_agreement": _info(
        "Base agreement", "%", "none", NEITHER, "pictures with the same best class as the unedited model"
    ),
    "base_cos": _info(
        "Base cosine gap",
        "cos x100",
        "none",
        NEITHER,
        "mean absolute difference of picture-prompt cosines from its",
    ),
    "m4": _info(
        "M4 retain preference",
        "%",
        "up",
        KEEPING,
        "retain pictures that prefer the retain prompt over the forget prompt",
    ),
    "m4_drop": _info(
        "M4 drop", "points", "down", KEEPING, "M4 of the reference minus M4 now, over the same pictures"
    ),
    "m5": _info("M5 utility kept", "%", "up", KEEPING, "100 minus the absolute change of utility in points"),
    "util": _info(
        "Utility",
        "%",
        "up",
        KEEPING,
        "the utility that M5 compares: retrieval R@1 or two-prompt accuracy on retain pictures",
    ),
    "others_acc": _info(
        "Others' accuracy",
        "%",
        "up",
        KEEPING,
        "zero-shot accuracy on the domain's other concepts, each concept weighing the same",
    ),
    "others_acc_drop": _info(
        "Others' drop",
        "points",
        "down",
        KEEPING,
        "others' accuracy of the reference minus that now, over the same pictures",
    ),
    "others_worst": _info(
        "Worst other",
        "points",
        "down",
        KEEPING,
        "largest drop of a single other concept; the variant is its name",
    ),
    "concept_acc": _info(
        "Concept accuracy",
        "%",
        "up",
        KEEPING,
        "zero-shot accuracy on one other concept; the variant is its name",
    ),
    "df_fine": _info(
        "D_f fine",
        "%",
        "down",
        FORGETTING,
        "forgotten pictures whose own fine label is the best of all fine labels",
    ),
    "df_coarse": _info(
        "D_f coarse", "%", "up", KEEPING, "forgotten pictures whose parent is the best of all coarse labels"
    ),
    "dr_fine": _info(
        "D_r fine",
        "%",
        "up",
        KEEPING,
        "retained pictures whose own fine label is the best of all fine labels",
    ),
    "dr_coarse": _info(
        "D_r coarse", "%", "up", KEEPING, "retained pictures whose parent is the best of all coarse labels"
    ),
    "quality": _info(
        "Quality",
        "%",
        "up",
        FORGETTING,
        "share of the base's fine accuracy on forgotten pictures that is gone",
        from_base=True,
    ),
    "utility": _info(
        "Utility kept",
        "%",
        "up",
        KEEPING,
        "mean share kept of the base's accuracy: D_r fine, D_r coarse, D_f coarse",
    ),
    "q_u": _info("Q-U", "%", "up", NEITHER, "harmonic mean of Quality and Utility"),
    "zero_shot": _info(
        "Zero-shot mean", "%", "up", KEEPING, "plain mean of top-1 accuracy over the unrelated tasks"
    ),
    "zero_shot_drop": _info(
        "Zero-shot drop", "points", "down", KEEPING, "zero-shot mean of the reference minus that now"
    ),
    "rec": _info(
        "Recovery",
        "fraction",
        "zero",
        FORGETTING,
        "share of the forgetting that quantization undoes: 0 none, 1 all of it",
        from_base=True,
    ),
    "zs_<suite>": _info(
        "Zero-shot accuracy", "%", "up", KEEPING, "top-1 accuracy on an unrelated task, the suite"
    ),
    "zs_<suite>_drop": _info(
        "Zero-shot drop", "points", "down", KEEPING, "accuracy on the suite of the reference minus that now"
    ),
}
