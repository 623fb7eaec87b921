"""Validation pictures in two halves, for choosing settings: the search sees one half, scores come from the other."""

from __future__ import annotations

from dataclasses import replace

from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets, Judged, Pairs


def doubled(sizes: Sizes) -> Sizes:
    """Return sizes that ask for two halves of validation pictures."""
    return replace(sizes, validation_forget=2 * sizes.validation_forget, validation_retain=2 * sizes.validation_retain)


def on_validation(sets: ConceptSets) -> ConceptSets:
    """Return sets without any evaluation picture: odd validation pictures to search on, even ones to score on.

    Pictures are dealt out by origin, so that two views of one picture never stand on both sides. Suites show evaluation
    pictures and are left out.
    """
    first, second = (Judged(_half(sets.validation.forget, i), _half(sets.validation.retain, i)) for i in (0, 1))
    return replace(sets, validation=first, evaluation=second, suites=())


def _half(pairs: Pairs, which: int) -> Pairs:
    numbers: dict[str, int] = {}
    side = [numbers.setdefault(p.key, len(numbers)) % 2 for p in pairs.pictures]
    return Pairs(tuple(p for p, s in zip(pairs.pictures, side, strict=True) if s == which), pairs.sources)
