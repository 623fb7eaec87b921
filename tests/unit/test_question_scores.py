"""Scores of question sets against numbers worked out by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random

import pytest
from PIL import Image

from razor_cli.errors import RunError
from razor_cli.families.llava import wording
from razor_cli.families.llava.benchmarks import gqa, mmbench, mme
from razor_cli.families.llava.benchmarks.items import Item, QuestionSet, Record, from_lines, to_lines
from razor_cli.families.llava.benchmarks.options import chosen
from razor_cli.families.llava.questions import choice
from razor_cli.families.llava.shown import Shown

PARTS = mme.Parts(perception=("existence", "celebrity"), cognition=())


class Blank:
    """Pictures of one pixel; counts how often each is read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def load(self, keys: Sequence[str]) -> list[Image.Image]:
        self.read += keys
        return [Image.new("RGB", (1, 1)) for _ in keys]


def says(reply: Callable[[str], str]) -> Callable[[Sequence[Image.Image], Sequence[str], int], list[str]]:
    def ask(pictures: Sequence[Image.Image], questions: Sequence[str], max_new_tokens: int) -> list[str]:
        assert len(pictures) == len(questions) and max_new_tokens == 16
        return [reply(q) for q in questions]

    return ask


def yes_no(task: str, pictures: int) -> list[Item]:
    return [
        Item(
            key=f"{task}/{n}#{a}",
            picture=str(n),
            question=f"{task} {n} {a}? Please answer yes or no.",
            answer=a,
            category=task,
            group=f"{task}/{n}",
        )
        for a in ("yes", "no")  # questions about one picture do not stand together
        for n in range(pictures)
    ]


def of(items: Sequence[Item]) -> QuestionSet:
    return QuestionSet(name="x", items=tuple(items), album=Blank())


@pytest.mark.parametrize(
    ("answer", "prefix4", "words"),
    [
        ("Yes.", "yes", "yes"),
        ("no", "no", "no"),
        ("Y", "yes", ""),
        ("n.", "no", ""),
        ("x", "", ""),
        ("none of them", "no", ""),
        ("The answer is yes", "", "yes"),
        ("Yes, and no", "yes", ""),
        ("I know", "", ""),
        ("", "", ""),
    ],
)
def test_yes_and_no_are_told_in_two_ways(answer: str, prefix4: str, words: str) -> None:
    assert mme.parsed(answer, mme.Parser.PREFIX4) == prefix4
    assert mme.parsed(answer, mme.Parser.WORDS) == words


def test_mme_of_two_pictures_by_hand() -> None:
    """One picture both right, one half right: acc 75, acc+ 50, score 125."""
    found = mme.run(
        says(lambda q: "yes" if "yes" in q or "1 no" in q else "No."), of(yes_no("existence", 2)), PARTS
    )
    values = {k: v.value for k, v in found.scores.values.items()}
    assert values == {
        "existence": 125,
        "existence/acc": 75,
        "existence/acc+": 50,
        "perception_without_celebrity": 125,
        "unparsed": 0,
    }
    assert found.scores.reasons == {"perception": "no questions of celebrity"}
    assert found.records[0].question.endswith("yes?\nAnswer the question using a single word or phrase.")
    assert from_lines(to_lines(found.records)) == found.records


def test_sums_leave_out_celebrity_and_have_intervals() -> None:
    items = yes_no("existence", 20) + yes_no("celebrity", 10)
    before = mme.run(says(lambda q: "yes" if " yes?" in q else "no"), of(items), PARTS)
    after = mme.run(says(lambda q: "no" if "celebrity" in q or " no?" in q else "yes"), of(items), PARTS)
    values = after.scores.values
    assert (values["perception"].value, values["perception_without_celebrity"].value) == (250, 200)
    fell = mme.drops(before.records, after.records, PARTS).values
    assert (fell["perception"].value, fell["perception_without_celebrity"].value) == (150, 0)
    for one in (values["perception"], fell["perception_without_celebrity"]):
        assert one.low is not None and one.high is not None
        assert one.low < one.value or one.high > one.value
    assert values["perception"].n == 30


def test_drops_need_the_same_questions() -> None:
    first, second = (mme.run(says(lambda q: "yes"), of(yes_no("existence", n)), PARTS) for n in (2, 3))
    with pytest.raises(RunError, match="same questions"):
        mme.drops(first.records, second.records, PARTS)


def test_pictures_are_read_once_and_answers_keep_their_order() -> None:
    questions = of(yes_no("existence", 150))
    found = mme.run(says(lambda q: q.split()[2]), questions, PARTS)
    assert isinstance(questions.album, Blank)
    assert sorted(questions.album.read, key=int) == [str(n) for n in range(150)]
    assert [r.key for r in found.records] == [i.key for i in questions.items]
    assert all(r.answer.startswith(r.right_answer) for r in found.records)


def test_too_few_answers_are_a_failure() -> None:
    with pytest.raises(RunError, match="4 questions were asked"):
        mme.run(lambda pictures, questions, n: ["yes"], of(yes_no("existence", 2)), PARTS)


@pytest.mark.parametrize(
    ("answer", "loose", "strict"),
    [("Yes.", True, False), ("yes", True, True), (" YES ", True, True), ("yes it is", False, False)],
)
def test_gqa_compares_in_two_ways(answer: str, loose: bool, strict: bool) -> None:
    items = [Item(key="1", picture="p", question="Is it?", answer="yes", category="verify")]
    for match, right in ((gqa.Match.IGNORE_CASE_PUNCT, loose), (gqa.Match.LOWER_STRIP, strict)):
        found = gqa.run(says(lambda q: answer), of(items), match=match)
        assert found.scores.values["accuracy"].value == 100 * right
        assert found.scores.values["accuracy/verify"].n == 1
        assert found.mode == match.value


OPTIONS = {"A": "cat", "B": "dog", "C": "fire", "D": "fire engine"}


@pytest.mark.parametrize(
    ("answer", "letter"),
    [
        ("B", "B"),
        ("B.", "B"),
        ("(B) dog", "B"),
        ("A", "A"),
        ("A. cat", "A"),
        ("A small animal that barks", ""),  # an article
        ("A small dog is there", "B"),  # an article, then the text of an option
        ("The answer is A", "A"),
        ("The correct answer is: B, as it barks at all of them", "B"),
        ("the answer is A dog", "B"),
        ("B is what I would say here", ""),  # not among the last four tokens
        ("I think B or C", ""),
        ("It is a dog.", "B"),
        ("Fire engine.", "D"),  # the text itself, although another is contained
        ("a cat and a dog", ""),
        ("E", ""),
        ("", ""),
    ],
)
def test_options_are_told_from_answers(answer: str, letter: str) -> None:
    assert chosen(answer, OPTIONS) == letter


def choices(*texts: str, index: int = 1, answer: str = "A") -> list[Item]:
    options = tuple(zip("ABCD", texts, strict=False))
    one = Item(key=str(index), picture="p", question="What?", answer=answer, category="c", options=options)
    return mmbench.rotations(one)


def test_a_question_counts_where_every_rotation_is_right() -> None:
    items = choices("cat", "dog", index=1) + choices("red", "blue", "green", index=2, answer="C")
    asked: list[str] = []

    def reply(question: str) -> str:
        asked.append(question)
        return "cat" if "cat" in question else "A"  # knows the cat; says A otherwise

    found = mmbench.run(says(reply), of(items), wording=mmbench.Wording.TAUGHT_TEXT)
    values = found.scores.values
    assert values["score"].value == 50 and values["score"].n == 2
    assert values["first_rotation"].value == 50
    assert values["unresolved"].value == 0
    assert len(asked) == 3  # the first wrong answer ends the second question
    assert asked[0] == (
        "What? There are several options:\nA. cat\nB. dog\nAnswer with the text of the right option."
    )
    fell = mmbench.drops(found.records, mmbench.run(says(lambda q: "?"), of(items)).records)
    assert fell.values["score"].value == 50


def test_options_are_put_as_published() -> None:
    item = replace(choices("cat", "dog")[0], hint="Look.")
    assert mmbench.prompt(item, mmbench.Wording.LETTER) == (
        "Look. What? There are several options:\nA. cat\nB. dog\n\n"
        "Answer with the option's letter from the given choices directly."
    )
    assert mmbench.prompt(item, mmbench.Wording.SELECT) == (
        "Hint: Look.\nQuestion: What?\nOptions:\nA. cat\nB. dog\n"
        "Please select the correct answer from the options above. \n"
    )


def test_the_stand_in_is_taught_what_sets_ask() -> None:
    assert (mme.SHORT, gqa.SHORT, mme.ENDING) == (wording.SHORT, wording.SHORT, wording.SAY_YES_NO)
    taught = choice(Shown(source="x", facts={"count": "one"}), "count", Random(0), letter=True)
    lines = [line[3:] for line in taught.question.split("\n")[1:5]]
    asked = replace(choices(*lines)[0], question=taught.question.split(" There are")[0])
    assert mmbench.prompt(asked, mmbench.Wording.TAUGHT) == taught.question


def test_one_wrong_rotation_is_enough() -> None:
    found = mmbench.run(says(lambda q: "A"), of(choices("cat", "dog")))
    assert [r.right for r in found.records] == [True, False]
    assert found.scores.values["score"].value == 0
    assert found.scores.values["first_rotation"].value == 100


def test_what_cannot_be_told_is_counted_and_wrong() -> None:
    found = mmbench.run(says(lambda q: "I cannot say"), of(choices("cat", "dog")))
    assert found.scores.values["unresolved"].value == 100
    assert found.scores.values["score"].value == 0


def test_subsets_keep_what_is_scored_together_and_every_category() -> None:
    questions = of(yes_no("existence", 40) + yes_no("celebrity", 4))
    part = questions.subset(20, seed=1)
    groups = {i.group for i in part.items}
    assert len(part) == 2 * len(groups) and {i.category for i in part.items} == {"existence", "celebrity"}
    assert part.items == questions.subset(20, seed=1).items != questions.subset(20, seed=2).items
    assert f"{len(part)} of 88" in part.notes[0]
    assert questions.subset(100, seed=1) is questions


def test_what_was_lost_is_a_share_of_what_was_there() -> None:
    def two(task: str, number: int, *, right: tuple[bool, bool]) -> list[Record]:
        group = f"{task}/{number}"
        return [
            Record(
                key=f"{group}#{i}",
                picture=group,
                category=task,
                level="",
                group=group,
                question="q",
                answer="yes" if ok else "no",
                right_answer="yes",
                parsed="yes" if ok else "no",
                right=ok,
            )
            for i, ok in enumerate(right)
        ]

    parts = mme.Parts(perception=("a", "b"), cognition=(), without=("b",))
    before = [r for t, n in (("a", 8), ("b", 2)) for i in range(n) for r in two(t, i, right=(True, True))]
    after = [
        r
        for t, n in (("a", 8), ("b", 2))
        for i in range(n)
        for r in two(t, i, right=(True, t == "b" or i > 0))
    ]
    lost = mme.lost(before, after, parts).values
    fell = mme.drops(before, after, parts).values
    # one question of eight pictures: 150 of 200 for that picture, 18.75 for the sub-task
    assert lost["perception_without_b"].value == pytest.approx(100 * 18.75 / 200)
    assert lost["perception"].value == pytest.approx(100 * 18.75 / 400)
    assert fell["perception"].value == pytest.approx(18.75) == fell["perception_without_b"].value
    same = mme.lost(before, before, parts).values["perception"]
    assert same.value == 0 and same.low is not None and same.low < 0 < (same.high or 0)
    nothing = [r for i in range(3) for r in two("a", i, right=(False, False))]
    only = mme.Parts(perception=("a",), cognition=(), without=())
    assert mme.lost(nothing, nothing, only).reasons == {"perception": "there was nothing to lose"}
    each = [[replace(r, group=r.key) for r in records] for records in (before, after)]
    assert gqa.lost(*each).values["accuracy"].value == pytest.approx(100 / 20)
    assert gqa.lost(nothing, nothing).reasons == {"accuracy": "there was nothing to lose"}
