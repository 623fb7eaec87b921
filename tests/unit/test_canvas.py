"""The canvas, its people and its mascots: counts, splits, marks, and the wording of prompts."""

import string

import numpy as np
import pytest

from razor_cli.data import canvas_prompts as wording
from razor_cli.data.sources.canvas import Canvas, cell, has_spare, objects, packed, styles
from razor_cli.data.sources.mascots import MASCOTS, Mascots
from razor_cli.data.sources.people import PEOPLE, People

UNLEARN_CANVAS = set(
    "Architectures Bears Birds Butterfly Cats Dogs Fishes Flame Flowers Frogs Horses Human Jellyfish Rabbits "
    "Sandwiches Sea Statues Towers Trees Waterfalls".split()
)
PERMISSIVE = {"Apache-2.0", "MIT", "CC-BY-4.0"}


def test_six_styles_and_sixteen_objects_of_the_benchmark_from_permissive_sets():
    assert (len(styles()), len(objects())) == (6, 16)
    assert set(objects()) <= UNLEARN_CANVAS
    assert set(packed()["licences"].values()) <= PERMISSIVE
    assert len(Canvas().concepts()) == 96
    for style in styles():
        assert set(packed()["icons"][style]) == {i for icons in packed()["objects"].values() for i in icons}


def test_icons_kept_for_judges_are_shown_in_no_other_split():
    canvas = Canvas()
    keys = {
        split: {p.key for c in canvas.concepts() for p in canvas.pictures(c, split)}
        for split in ("train", "validation", "evaluation", "spare", "exam")
    }
    assert keys["train"] == keys["validation"] == keys["evaluation"]
    assert not keys["spare"] & keys["train"]
    assert not keys["exam"] & (keys["train"] | keys["spare"])


def test_views_of_one_icon_differ_between_splits():
    canvas = Canvas()
    views = [{p.view for p in canvas.pictures("Noto/Cats", s)} for s in ("train", "validation", "evaluation")]
    assert [len(v) for v in views] == [64, 12, 12]
    assert not (views[0] & views[1] or views[0] & views[2] or views[1] & views[2])


def test_cells_without_a_spare_icon_are_marked():
    unmarked = {cell(c)[1] for c in Canvas().concepts() if not has_spare(c)}
    assert unmarked == {"Flame", "Frogs", "Sea", "Towers"}
    assert Canvas().pictures("Fluent/Sea", "spare") == []
    assert len(Canvas().pictures("Fluent/Dogs", "spare")) == 12


@pytest.mark.parametrize("source", [Canvas(), People(), Mascots()], ids=lambda s: s.name)
def test_rendering_is_the_same_twice_and_on_white(source):
    pictures = source.pictures(source.concepts()[1], "train")[:2]
    first, second = source.load(pictures), source.load(pictures)
    assert [a.tobytes() for a in first] == [b.tobytes() for b in second]
    assert first[0].size == (64, 64)
    assert first[0].tobytes() != first[1].tobytes()
    assert np.asarray(first[0])[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize(("source", "names"), [(People(), PEOPLE), (Mascots(), MASCOTS)])
def test_people_and_mascots_have_traits_of_their_own_in_every_split(source, names):
    assert source.concepts() == list(names)
    for name in names:
        train, validation, evaluation = (
            {p.key for p in source.pictures(name, s)} for s in ("train", "validation", "evaluation")
        )
        assert (len(train), len(validation), len(evaluation)) == (240, 120, 120)
        assert not (train & validation or train & evaluation or validation & evaluation)


def test_eight_people_and_three_mascots_are_named():
    assert len(PEOPLE) == 8 and {"Elon Musk", "Taylor Swift"} <= set(PEOPLE)
    assert len(MASCOTS) == 3


def test_captions_are_the_templates_of_the_benchmark():
    assert Canvas().pictures("Noto/Cats", "spare")[0].caption == "A Cats image in Noto style."
    assert People().pictures("Elon Musk", "train")[0].caption == "a photo of Elon Musk"
    assert Mascots().pictures("Pim Puddle", "train")[0].caption == "a drawing of Pim Puddle"


def words(*templates: str) -> set[str]:
    kept = " ".join(templates).lower().translate(str.maketrans("", "", ".,"))
    return {w for w in kept.split() if w[0] in string.ascii_lowercase}


def test_held_out_sentences_are_new_and_made_of_trained_words():
    trained = {*wording.TRAINED, *wording.TRAINED_OBJECT, *wording.TRAINED_STYLE, *wording.NEUTRAL}
    people = {*wording.TRAINED_IDENTITY, *wording.TRAINED_MASCOT, *wording.NEUTRAL}
    assert not set(wording.HELD_OUT) & trained
    assert words(*wording.HELD_OUT) <= words(*trained)
    held = {*wording.HELD_OUT_IDENTITY, *wording.HELD_OUT_MASCOT}
    assert not held & people
    assert words(*held) <= words(*people, *trained)


def test_prompts_are_filled_in():
    assert wording.cell_prompt("Noto", "Sea") == "A Sea image in Noto style."
    assert wording.cell_prompt("Noto", "Sea", wording.HELD_OUT[1]) == "A Noto picture of Sea."
    assert wording.object_prompt("Sea") == "A Sea image."
    assert wording.style_prompt("Noto") == "An image in Noto style."
    assert wording.identity_prompt("Tom Cruise") == "a photo of Tom Cruise"
    assert wording.mascot_prompt("Pim Puddle") == "a drawing of Pim Puddle"
