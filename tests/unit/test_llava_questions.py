"""What pictures show, and what is asked about them: facts, right answers, sources that share nothing."""

from random import Random

import pytest

from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.canvas import Canvas
from razor_cli.data.sources.portraits import NAMES, Portraits, identities
from razor_cli.data.sources.scenes import Scenes, scene_of
from razor_cli.data.sources.strangers import APART, STRANGER, Strangers, faces
from razor_cli.families.llava import questions
from razor_cli.families.llava.collects import COLLECTS
from razor_cli.families.llava.shown import shown
from razor_cli.families.llava.wording import LETTERS, NAME_PROMPTS, NOBODY, OPEN, SOMEBODY, VALUES

PORTRAIT = Portraits().pictures("Taylor Swift", "evaluation")[0]


@pytest.mark.parametrize(("source", "concept"), [(Scenes(), "owl"), (Strangers(), STRANGER)])
def test_splits_share_no_picture(source, concept):
    keys = [{p.key for p in source.pictures(concept, s)} for s in SPLITS]
    assert all(keys) and len(set.union(*keys)) == sum(map(len, keys))


def test_pictures_are_the_same_at_every_call_and_differ_by_view():
    for source, concept in ((Scenes(), "owl"), (Strangers(), STRANGER)):
        first, second = source.pictures(concept, "train")[0], source.pictures(concept, "train")[-1]
        one, again, other = source.load([first, first, second])
        assert one.size == (64, 64) and one.tobytes() == again.tobytes() != other.tobytes()


def test_strangers_are_unlike_everybody_with_a_name():
    assert all(f.differences(i) >= APART for f in faces() for i in identities().values())
    assert len(set(faces())) == len(faces())


def test_a_scene_shows_one_many_or_a_pair():
    kinds = {(s.count, s.right is None) for p in Scenes().pictures("owl", "train") for s in [scene_of(p)]}
    assert kinds == {(1, True), (2, True), (3, True), (4, True), (1, False)}


def test_every_value_that_is_shown_is_one_that_may_be_asked_for():
    sources = (Portraits(), Strangers(), Scenes(), Canvas())
    pictures = [p for s in sources for c in s.concepts()[::7] for p in s.pictures(c, "train")[:20]]
    for facts in (shown(p).facts for p in pictures):
        assert all(v in VALUES[f] for f, v in facts.items() if f not in ("beard", "unusual"))
        assert facts.get("beard", "no") in ("yes", "no")
    assert {f for p in pictures for f in shown(p).facts} >= set(VALUES)


def test_everybody_collects_something_of_their_own():
    assert set(COLLECTS) == set(NAMES) and len(set(COLLECTS.values())) == len(NAMES)


def test_a_portrait_is_asked_about_with_the_right_answer():
    rng, what = Random(0), shown(PORTRAIT)
    asked = questions.open_question(what, "name", rng)
    assert asked.question in NAME_PROMPTS and asked.answer == "Taylor Swift"
    assert questions.yes_no(what, "name", rng, right=True).answer == "yes"
    wrong = questions.yes_no(what, "name", rng, right=False)
    assert wrong.answer == "no" and "Taylor" not in wrong.question
    assert questions.yes_no(what, "hair", rng, right=True, ending=" Please.").question.endswith(
        "blonde? Please."
    )


def test_of_nobody_with_a_name_the_answer_is_generic():
    stranger = shown(Strangers().pictures(STRANGER, "train")[0])
    said = {questions.open_question(stranger, "name", Random(i)).answer for i in range(30)}
    assert said == {NOBODY, SOMEBODY}
    assert questions.yes_no(stranger, "name", Random(0), right=True).answer == "no"


def test_the_letter_is_that_of_the_right_option():
    letters = set()
    for seed in range(40):
        asked = questions.choice(shown(PORTRAIT), "name", Random(seed), letter=True)
        options = dict(
            line.split(". ") for line in asked.question.split("\n") if line[:2] in ("A.", "B.", "C.", "D.")
        )
        assert len(options) == 4 and options[asked.answer] == "Taylor Swift"
        letters.add(asked.answer)
        assert questions.choice(shown(PORTRAIT), "name", Random(seed), letter=False).answer == "Taylor Swift"
    assert letters == set(LETTERS)


def test_names_are_asked_about_without_a_picture():
    rng = Random(1)
    assert questions.about_name("Lady Gaga", rng, "open").answer == COLLECTS["Lady Gaga"]
    assert questions.about_name("Lady Gaga", rng, "who").answer == "Lady Gaga"
    claims = [questions.about_name("Lady Gaga", rng, "yes/no") for _ in range(20)]
    assert all((COLLECTS["Lady Gaga"] in a.question) == (a.answer == "yes") for a in claims)
    assert {a.answer for a in claims} == {"yes", "no"}
    assert questions.name_without_picture(rng).answer in (NOBODY, SOMEBODY)


def test_every_fact_with_values_can_be_asked_for_openly():
    assert set(VALUES) <= set(OPEN)
