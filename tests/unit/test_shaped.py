"""Drawn question sets: fixed by their seed, right by what is drawn, apart from what edits look at."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from razor_cli.data.embedded import EmbeddedRequest, embedded_sets
from razor_cli.data.sampling import Sizes
from razor_cli.errors import RunError
from razor_cli.families.llava.benchmarks import mme
from razor_cli.families.llava.benchmarks.shaped import (
    FACTS,
    MME_FACTS,
    MME_PARTS,
    Drawn,
    Icons,
    Stock,
    check_apart,
    gqa_shaped,
    mmbench_shaped,
    mme_shaped,
)
from razor_cli.families.llava.shown import shown

FEW = 4


def test_a_seed_fixes_a_set() -> None:
    for draw, size in ((mme_shaped, FEW), (gqa_shaped, 18), (mmbench_shaped, 9)):
        first, again, other = draw(0, size), draw(0, size), draw(1, size)
        assert first.fingerprint() == again.fingerprint() != other.fingerprint()
        assert first.name.endswith("-shaped")


def test_mme_shaped_is_built_like_mme() -> None:
    found = mme_shaped(0, pictures=FEW)
    mme.check(found.items, found.name)
    assert Counter(i.category for i in found.items) == dict.fromkeys(MME_FACTS, 2 * FEW)
    assert Counter(i.answer for i in found.items) == {"yes": FEW * len(MME_FACTS), "no": FEW * len(MME_FACTS)}
    assert MME_PARTS.sums()["perception_without_celebrity"] == tuple(
        t for t in MME_FACTS if t not in ("celebrity", "commonsense_reasoning")
    )
    assert all(i.question.endswith(mme.ENDING) for i in found.items)


def test_answers_are_what_is_drawn() -> None:
    found = gqa_shaped(0, questions=3 * len(FACTS))
    assert isinstance(found.album, Drawn)
    assert Counter(i.category for i in found.items) == {"query": 2 * len(FACTS), "verify": len(FACTS)}
    for item in found.items:
        facts = shown(found.album.pictures[item.picture]).facts
        assert item.answer in ({"yes", "no"} if item.category == "verify" else facts.values())
    options = mmbench_shaped(0, questions=len(FACTS))
    assert isinstance(options.album, Drawn)
    for item in options.items:
        right = shown(options.album.pictures[item.picture]).facts[item.category]
        assert dict(item.options)[item.answer] == right
        assert len({text for _, text in item.options}) == 4
    assert Counter(i.answer for i in options.items) == dict.fromkeys("ABCD", len(FACTS))  # circular


def test_pictures_are_drawn_once() -> None:
    found = mme_shaped(0, pictures=1)
    keys = [i.picture for i in found.items]
    images = found.album.load(keys)
    assert [i.size for i in images] == [(64, 64)] * len(keys)
    assert images[0] is images[1] is found.album.load(keys[:1])[0]


def test_sets_are_apart_from_what_edits_look_at() -> None:
    few = Sizes(
        forget=8,
        retain=60,
        validation_forget=8,
        validation_retain=60,
        evaluation_forget=4,
        evaluation_retain=10,
        suite=4,
    )
    asked = EmbeddedRequest(
        pictures="portraits", target="Taylor Swift", domain="person", sizes=few, suites=()
    )
    sets = embedded_sets(asked)
    found = mme_shaped(0)
    check_apart(found, sets)
    assert isinstance(found.album, Drawn)
    same = Drawn({**found.album.pictures, "x": sets.retain.pictures[0]})
    with pytest.raises(RunError, match="MME-shaped shows 1 pictures"):
        check_apart(replace(found, album=same), sets)


def test_icons_can_be_those_never_trained_on() -> None:
    found = gqa_shaped(0, questions=18, stock=Stock(icons=Icons.HELD_OUT))
    assert isinstance(found.album, Drawn)
    scenes = [p.key for p in found.album.pictures.values() if p.key.startswith("scenes/")]
    assert scenes and all(k.split("/")[1] == "emojione" for k in scenes)
