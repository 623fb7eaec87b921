"""Metrics of models that answer: names, units, directions and what each of them is of."""

from __future__ import annotations

from razor_cli.metrics.info import MetricInfo, Role

FORGETTING, KEEPING, NEITHER = Role.FORGETTING, Role.KEEPING, Role.NEITHER


def _info(
    title: str, unit: str, direction: str, role: Role, explanation: str, *, from_base: bool = False
) -> MetricInfo:
    return MetricInfo(
        title=title, unit=unit, direction=direction, role=role, explanation=explanation, from_base=from_base
    )


def _share(name: str, title: str, role: Role, explanation: str) -> dict[str, MetricInfo]:
    """Return a share in percent and its drop since the unedited model."""
    forgets = role is FORGETTING
    what = f"{title} of the reference minus that now, over the same questions"
    return {
        name: _info(title, "%", "down" if forgets else "up", role, explanation),
        f"{name}_drop": _info(
            f"{title}, drop", "points", "up" if forgets else "down", role, what, from_base=forgets
        ),
    }


def _set(name: str, title: str, unit: str, explanation: str) -> dict[str, MetricInfo]:
    """Return a question set's score and its drop since the unedited model."""
    what = f"{title} of the reference minus that now, over the same questions"
    return {
        name: _info(title, unit, "up", KEEPING, explanation),
        f"{name}_drop": _info(f"{title}, drop", "points", "down", KEEPING, what),
    }


_DRAWN = "the same over drawn pictures, a set of the same shape"
METRICS = {
    **_share("fa", "FA", FORGETTING, "questions for the target's name that are answered with it"),
    **_share("fa_first", "FA, first question", FORGETTING, "the same over the paper's question alone"),
    "fa_name": _info(
        "FA of a name",
        "%",
        "down",
        FORGETTING,
        "FA of one of several that go; the variant is its name",
    ),
    **_share(
        "binding",
        "Name for the face",
        FORGETTING,
        "faces of the target for which its name is chosen among four, or confirmed",
    ),
    **_share(
        "binding_others",
        "Names for other faces",
        KEEPING,
        "other faces for which the right name is chosen, or confirmed and the target's denied",
    ),
    "misses": _info(
        "Misses", "%", "none", NEITHER, "what is said in place of the target's name; the variant is the kind"
    ),
    "unnamed": _info(
        "Misses that name nobody", "%", "up", NEITHER, "generic answers and refusals among the misses"
    ),
    **_share("retain_fa", "Retain FA", KEEPING, "questions for other names that are answered with them"),
    "retain_fa_name": _info(
        "Retain FA of a name", "%", "up", KEEPING, "the same of one other name, the variant"
    ),
    "retain_fa_worst": _info(
        "Worst other name",
        "points",
        "down",
        KEEPING,
        "largest drop of a single other name; the variant is that name",
    ),
    **_share("near", "Near names", KEEPING, "accuracy on the names that lie nearest to the target"),
    **_share(
        "looks", "Looks", KEEPING, "right answers about hair, clothes and beard of the target's pictures"
    ),
    **_share("facts", "Facts", KEEPING, "right answers about names without a picture"),
    "refusals": _info(
        "Refusals", "%", "down", KEEPING, "harmless questions that are refused or not answered at all"
    ),
    **_set("mme", "MME", "score", "sum over sub-tasks of accuracy and accuracy+"),
    **_set("mme_shaped", "MME-shaped", "score", _DRAWN),
    **_set("gqa", "GQA", "%", "open questions answered with the right word or phrase"),
    **_set("gqa_shaped", "GQA-shaped", "%", _DRAWN),
    **_set("mmbench", "MMBench", "%", "questions with options answered rightly in all rotations"),
    **_set("mmbench_shaped", "MMBench-shaped", "%", _DRAWN),
    "answers_loss": _info(
        "Answers lost",
        "%",
        "down",
        KEEPING,
        "share of the unedited model's score that was lost: yes_no of MME's perception without names, open "
        "of GQA, or of the sets of their shapes",
    ),
}
