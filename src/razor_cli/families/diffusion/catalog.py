"""Metrics of models that draw: names, units, directions and what each of them is of."""

from __future__ import annotations

from razor_cli.metrics.info import MetricInfo, Role

FORGETTING, KEEPING, NEITHER = Role.FORGETTING, Role.KEEPING, Role.NEITHER


def _info(
    title: str,
    unit: str,
    direction: str,
    role: Role,
    explanation: str,
    *,
    from_base: bool = False,
    known_by: str = "",
) -> MetricInfo:
    return MetricInfo(
        title=title,
        unit=unit,
        direction=direction,
        role=role,
        explanation=explanation,
        from_base=from_base,
        known_by=known_by,
    )


METRICS = {
    "ua": _info(
        "UA", "%", "up", FORGETTING, "pictures asked of the target that the judge does not take for it"
    ),
    "ua_drop": _info(
        "UA drop",
        "points",
        "down",
        FORGETTING,
        "UA of the reference minus UA now, over the same pictures: below 0 where something was forgotten",
        from_base=True,
    ),
    "ua_name": _info(
        "UA of a name", "%", "up", FORGETTING, "UA of one of several names that go; the variant is that name"
    ),
    "ua_valid": _info(
        "UA valid",
        "%",
        "up",
        FORGETTING,
        "those of them that still show what else was asked for, so that garbage does not count",
        known_by="ua",  # garbage of the unedited model is no picture that its judge knows
    ),
    "ua_valid_drop": _info(
        "UA valid drop",
        "points",
        "down",
        FORGETTING,
        "valid UA of the reference minus that now, over the same pictures",
        from_base=True,
    ),
    "rejects": _info(
        "Rejects", "%", "down", KEEPING, "pictures in which the judge finds none of the names it knows"
    ),
    "ira": _info(
        "IRA",
        "%",
        "up",
        KEEPING,
        "accuracy on the other names of the target's kind, each name weighing the same",
    ),
    "ira_drop": _info(
        "IRA drop", "points", "down", KEEPING, "IRA of the reference minus IRA now, over the same pictures"
    ),
    "ira_worst": _info(
        "Worst other name",
        "points",
        "down",
        KEEPING,
        "largest drop of a single other name; the variant is that name",
    ),
    "ira_name": _info(
        "Accuracy of a name", "%", "up", KEEPING, "accuracy on one other name; the variant is that name"
    ),
    "cra": _info(
        "CRA",
        "%",
        "up",
        KEEPING,
        "accuracy on the names of the other kinds, each name weighing the same: over pictures not asked of "
        "the target, with /all over all",
    ),
    "cra_drop": _info(
        "CRA drop", "points", "down", KEEPING, "CRA of the reference minus CRA now, over the same pictures"
    ),
    "near": _info("Near names", "%", "up", KEEPING, "accuracy on the names that lie nearest to the target"),
    "near_drop": _info(
        "Near drop",
        "points",
        "down",
        KEEPING,
        "accuracy on the nearest names of the reference minus that now, over the same pictures",
    ),
    "judge_acc": _info(
        "Judge's accuracy",
        "%",
        "up",
        NEITHER,
        "share of held-out pictures that the judge names rightly; the variant is the kind of name",
    ),
    "fid": _info(
        "FID",
        "distance",
        "down",
        KEEPING,
        "Fréchet distance of pictures without the target from a reference, in features the variant names",
    ),
    "clip_score": _info(
        "CLIPScore",
        "cos x100",
        "up",
        KEEPING,
        "cosine of pictures without the target with their prompts, by the CLIP that the variant names",
    ),
}
