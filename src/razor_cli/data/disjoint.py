"""Proof that sets share no picture, and that a stand-in never saw what it is judged on. By origin, never by
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import combinations

from razor_cli.data.sampling import content
from razor_cli.data.sets import ConceptSets, Pairs
from razor_cli.data.shots import DrawnSets
from razor_cli.data.sources.emoji import TRAINED_SETS
from razor_cli.data.sources.portraits import Portraits
from razor_cli.errors import RunError

SEEN = "emoji_seen"  # the one suite that shows trained icons again, and says so


def six_sets(sets: ConceptSets) -> dict[str, Pairs]:
    """Return the six sets that must be pairwise disjoint."""
    return {
        "forget": sets.forget,
        "retain": sets.retain,
        "validation_forget": sets.validation.forget,
        "validation_retain": sets.validation.retain,
        "evaluation_forget": sets.evaluation.forget,
        "evaluation_retain": sets.evaluation.retain,
    }


def shifted_sets(sets: ConceptSets) -> dict[str, Pairs]:
    """Return the pictures of the out-of-distribution test, if there is one."""
    return {"ood_forget": sets.ood.judged.forget, "ood_retain": sets.ood.judged.retain} if sets.ood else {}


def check_disjoint(sets: ConceptSets) -> None:
    """Raise RunError if two of the six sets, or a held-out suite and a set that an edit looks at, share a
    picture.
    """
    origins = {name: {content(k) for k in pairs.keys} for name, pairs in six_sets(sets).items()}
    pairs = list(combinations(origins.items(), 2))
    edited = [(name, keys) for name, keys in origins.items() if not name.startswith("evaluation")]
    suites = [(f"suite {s.name}", {content(k) for k in s.pairs.keys}) for s in sets.suites if s.name != SEEN]
    suites += [(name, {content(k) for k in shown.keys}) for name, shown in shifted_sets(sets).items()]
    pairs += [(suite, other) for suite in suites for other in edited]
    for (first, a), (second, b) in pairs:
        if shared := sorted(a & b):
            raise RunError(
                f"data: the sets {first} and {second} share {len(shared)} pictures",
                found=", ".join(shared[:5]),
            )


def check_shots(sets: DrawnSets) -> None:
    """Raise RunError if pictures of the forget and retain sets, or seeds of the search and of the answers,
    are shared, or if one picture is judged twice.
    """
    forget, retain = ({content(k) for k in pairs.keys} for pairs in (sets.forget, sets.retain))
    searched, judged = ({s.seed for s in part} for part in (sets.validation, sets.evaluation))
    for first, second, shared in (
        ("forget", "retain", sorted(forget & retain)),
        ("validation", "evaluation", sorted(map(str, searched & judged))),
    ):
        if shared:
            raise RunError(
                f"data: the sets {first} and {second} share {len(shared)} pictures or seeds",
                found=", ".join(shared[:5]),
            )
    for name, part in (("validation", sets.validation), ("evaluation", sets.evaluation)):
        if len({(s.prompt, s.seed) for s in part}) < len(part):
            raise RunError(f"data: the set {name} asks for one picture twice")


def check_steps(sets: ConceptSets | DrawnSets) -> None:
    """Raise RunError if an edit of a request in several looks at a picture, or draws with a seed, that the
    request is judged on.
    """
    steps: Sequence[ConceptSets | DrawnSets] = sets.steps
    for number, step in enumerate(steps, 1):
        if shared := sorted(_looked_at(step) & _judged(sets)):
            raise RunError(
                f"data: edit {number} looks at {len(shared)} pictures or seeds that the request is judged on",
                found=", ".join(shared[:5]),
            )


def _looked_at(sets: ConceptSets | DrawnSets) -> set[str]:
    if isinstance(sets, DrawnSets):
        return {f"seed {s.seed}" for s in sets.validation}
    parts = (sets.forget, sets.retain, sets.validation.forget, sets.validation.retain)
    return {content(key) for pairs in parts for key in pairs.keys}


def _judged(sets: ConceptSets | DrawnSets) -> set[str]:
    if isinstance(sets, DrawnSets):
        return {f"seed {s.seed}" for s in sets.evaluation}
    return {content(k) for pairs in (sets.evaluation.forget, sets.evaluation.retain) for k in pairs.keys}


def check_unseen(sets: ConceptSets, *, evaluation: bool = True) -> None:
    """Raise RunError if an evaluation picture, a held-out suite or the shifted test shows what the stand-in
    was trained on.

    `evaluation` false: the evaluation is in distribution and says so; of it only what the shifted test shows
    must be unseen.
    """
    judged = (
        {"evaluation_forget": sets.evaluation.forget, "evaluation_retain": sets.evaluation.retain}
        if evaluation
        else {}
    )
    judged |= {f"suite {s.name}": s.pairs for s in sets.suites if s.name != SEEN}
    judged |= shifted_sets(sets)
    for name, pairs in judged.items():
        if known := [k for k in pairs.keys if trained_on(k)]:
            raise RunError(
                f"data: {name} holds {len(known)} pictures that the stand-in was trained on",
                found=", ".join(known[:5]),
            )


def trained_on(key: str) -> bool:
    """Tell whether the stand-in may have seen the icon, trait vector or photograph behind a key.

    For CIFAR-10 that is the whole official training part: copies of it differ in row order, so a row number
    of the validation split proves nothing about the copy that the stand-in was trained on.
    """
    source, _, rest = key.partition("/")
    if source == "portraits":
        return key in _trained_portraits(rest.split("/")[0])
    if source == "emoji":
        return rest.split("/")[0] in TRAINED_SETS
    return source == "cifar10" and rest.startswith("train/")


@cache
def _trained_portraits(name: str) -> frozenset[str]:
    return frozenset(p.key for p in Portraits().pictures(name, "train"))
