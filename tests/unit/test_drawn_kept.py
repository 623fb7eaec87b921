"""What an edit of a model that draws is told to keep, and what it puts in the target's place."""

from __future__ import annotations

import pytest
from drawn_places import TARGETS, sets_of

from razor_cli.data import canvas_prompts
from razor_cli.data.answer_sets import Scene
from razor_cli.data.choices import Preserve
from razor_cli.data.drawn_sets import retain_prompts
from razor_cli.data.shots import BENCHMARK
from razor_cli.data.sources import canvas
from razor_cli.data.wording import KINDS, canvas_words


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path_factory.getbasetemp() / "rendered"))


def scene(axis: str) -> Scene:
    sets = sets_of(axis)
    return Scene(axis=axis, labels=sets.labels, near=sets.near, words=canvas_words(), seed=0)


@pytest.mark.parametrize("axis", KINDS)
def test_lists_of_what_stays_are_partial_unless_all_is_asked_for(axis: str) -> None:
    found = {p: set(retain_prompts(scene(axis), p)) for p in Preserve}
    assert set(canvas_prompts.NEUTRAL) <= found[Preserve.NONE] < found[Preserve.HALF] < found[Preserve.ALL]
    assert found[Preserve.NAMES] < found[Preserve.ALL]
    every = {canvas_words().only(axis, n) for n in scene(axis).labels[axis][1:]}
    if axis not in ("style", "object"):
        assert every <= found[Preserve.ALL] and every & found[Preserve.HALF] < every
    benchmark = [
        s.prompt
        for s in sets_of(axis).evaluation
        if s.template == BENCHMARK and s.shows(axis) != TARGETS[axis]
    ]
    kept = sum(p in found[Preserve.HALF] for p in benchmark) / len(benchmark)
    assert 0.3 < kept < 0.7
    assert all(p in found[Preserve.ALL] for p in benchmark)


def test_names_that_are_left_out_include_the_nearest() -> None:
    one = scene("style")
    kept = retain_prompts(one, Preserve.NAMES)
    assert not any(near in p for near in one.near for p in kept)
    assert sum(any(n in p for p in kept) for n in one.labels["style"][1:]) == 2


def test_target_prompts_say_beside_each_what_remains_without_the_target() -> None:
    sets = sets_of("style", anchor=None)
    assert len(sets.target_prompts) == len(sets.anchor_prompts) == 17
    pairs = dict(zip(sets.target_prompts, sets.anchor_prompts, strict=True))
    assert pairs["A Cats image in Noto style."] == "A Cats image."
    assert pairs["An image in Noto style."] == "An image." == sets.anchor
    assert set(sets_of("object", anchor=None).anchor_prompts) == {
        f"An image in {s} style." for s in canvas.styles()
    } | {"An image."}
    assert sets_of("identity", anchor=None).anchor_prompts == ("a photo of a person",)
    named = sets_of("style", anchor="A grey square.")
    assert set(named.anchor_prompts) == {"A grey square."} == {named.anchor}


@pytest.mark.parametrize("axis", KINDS)
def test_what_stands_in_the_targets_place_is_the_nearest_name_a_name_or_a_prompt(axis: str) -> None:
    target = TARGETS[axis]
    plain, near, given = (sets_of(axis, anchor=a) for a in (None, "near", "Something else."))
    other = near.near[0]
    assert near.target_prompts == plain.target_prompts
    for prompt, without, instead in zip(plain.target_prompts, plain.anchors, near.anchors, strict=True):
        assert target in prompt and target not in without
        assert instead == prompt.replace(target, other)
    assert sets_of(axis, anchor=other).anchors == near.anchors and other in near.anchor
    assert set(given.anchors) == {"Something else."} == {given.anchor}
    assert sets_of(axis).fingerprints() == near.fingerprints()
