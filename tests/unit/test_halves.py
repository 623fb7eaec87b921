"""Validation pictures cut in two: no origin on both sides, and a plain word where there is only one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny_world import make_sets

from razor_cli.data.halves import on_validation
from razor_cli.data.sets import Judged, Pairs
from razor_cli.errors import DataError


def test_no_origin_is_on_both_sides_and_no_evaluation_picture_in_either() -> None:
    sets = make_sets()
    cut = on_validation(sets)
    for name in ("forget", "retain"):
        first, second, whole = (getattr(j, name) for j in (cut.validation, cut.evaluation, sets.validation))
        keys = [{p.key for p in part.pictures} for part in (first, second)]
        assert keys[0] and keys[1] and not keys[0] & keys[1]
        assert keys[0] | keys[1] == {p.key for p in whole.pictures}


def test_views_of_a_single_picture_cannot_be_cut() -> None:
    sets = make_sets()
    forget = sets.validation.forget
    views = Pairs((forget.pictures[0],) * 4, forget.sources)
    alone = replace(sets, validation=Judged(forget=views, retain=sets.validation.retain))
    with pytest.raises(DataError, match="'Ada' \\(forget\\) cannot be cut in two halves"):
        on_validation(alone)
