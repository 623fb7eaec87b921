"""Validation pictures in two halves, for choosing settings: the search sees one half, scores come from the
other.
"""

from __future__ import annotations

from dataclasses import replace

from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Judged, Pairs
from razor_cli.errors import DataError


def doubled(sizes: Sizes) -> Sizes:
    """Return sizes that ask for two halves of validation pictures."""
    return replace(
        sizes, validation_forget=2 * sizes.validation_forget, validation_retain=2 * sizes.validation_retain
    )


def on_validation(sets: ConceptSets) -> ConceptSets:
    """Return sets without any evaluation picture: odd validation pictures to search on, even ones to score
    on.

    Pictures are dealt out by origin, so that two views of one picture never stand on both sides. Suites and
    the out-of-distribution test show evaluation pictures and are left out.

    Raises:
        DataError: there is one origin only, as of an emoji that has one icon in this split.
    """
    each = len(sets.joint) > 1
    first, second = (
        Judged(_half(sets.validation.forget, i, each), _half(sets.validation.retain, i, each)) for i in (0, 1)
    )
    for name in ("forget", "retain"):
        if not len(getattr(second, name)):
            raise DataError(
                f"judged_on=validation: the validation pictures of '{sets.target}' ({name}) cannot be "
                "cut in two halves",
                found="they are views of a single picture",
                fix="judged_on=evaluation, or a target with more pictures",
            )
    return replace(sets, validation=first, evaluation=second, suites=(), ood=None, judged_split="validation")


def _half(pairs: Pairs, which: int, each: bool) -> Pairs:
    """Return every other origin; with `each`, every other one of each concept, so that all are on
    both sides.
    """
    numbers: dict[str, dict[str, int]] = {}
    side = []
    for p in pairs.pictures:
        own = numbers.setdefault(p.concept if each else "", {})
        side.append(own.setdefault(p.key, len(own)) % 2)
    return Pairs(tuple(p for p, s in zip(pairs.pictures, side, strict=True) if s == which), pairs.sources)
