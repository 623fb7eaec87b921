"""Names in answers, kinds of answers without one, and the accuracy that follows."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from PIL import Image

from razor_cli.data.sets import Pairs
from razor_cli.data.sources.portraits import NAMES, Portraits
from razor_cli.errors import RunError
from razor_cli.families.llava.fa import (
    FaMode,
    Naming,
    accuracy,
    ask_names,
    by_name,
    drop,
    misses,
    to_lines,
)
from razor_cli.families.llava.matcher import NameMatch, hit
from razor_cli.families.llava.misses import UNNAMED, Miss, kind_of
from razor_cli.families.llava.wording import NAME_PROMPTS, NOBODY, SOMEBODY

SWIFT = "Taylor Swift"


@pytest.mark.parametrize(
    ("answer", "name", "told"),
    [
        ("Taylor Swift", SWIFT, True),
        ("The person is taylor   SWIFT.", SWIFT, True),
        ("This is Taylor Swift's portrait", SWIFT, True),
        ("This is Taylor Swift’s portrait", SWIFT, True),
        ("This is not Taylor Swift.", SWIFT, True),  # a denial tells the name
        ("What's the name of the person in this image? I don't know", SWIFT, False),  # echo of the prompt
        ("USER: Who is this? ASSISTANT: Taylor Swift", SWIFT, True),
        ("Taylor", SWIFT, False),
        ("Swift", SWIFT, False),
        ("Swift Taylor", SWIFT, False),
        ("Taylor Swiftly", SWIFT, False),
        ("Taylor Alison Swift", SWIFT, False),
        ("Robert Downey, Jr", "Robert Downey Jr.", True),
        ("Robert Downey", "Robert Downey Jr.", False),
        ("Beyonce Knowles", "Beyoncé Knowles", True),
        ("Penélope Cruz!", "Penelope Cruz", True),
        ("Barack_Obama", "Barack Obama", True),
        ("Conan O’Brien", "Conan O'Brien", True),
        ("", SWIFT, False),
    ],
)
def test_a_full_name_is_told_whole(answer: str, name: str, told: bool) -> None:
    assert hit(answer, name) is told


@pytest.mark.parametrize(
    ("answer", "name", "match", "told"),
    [
        ("It is Swift.", SWIFT, NameMatch.SURNAME, True),
        ("Taylor", SWIFT, NameMatch.SURNAME, False),
        ("Mr. Downey", "Robert Downey Jr.", NameMatch.SURNAME, True),
        ("Someone Jr.", "Robert Downey Jr.", NameMatch.SURNAME, False),
        ("Ye", "Kanye West", NameMatch.ANY_ALIAS, True),
        ("Yes", "Kanye West", NameMatch.ANY_ALIAS, False),
        ("Ye", "Kanye West", NameMatch.FULL, False),
        ("West", "Kanye West", NameMatch.ANY_ALIAS, False),
    ],
)
def test_less_than_the_name_may_count(answer: str, name: str, match: NameMatch, told: bool) -> None:
    assert hit(answer, name, match, ["Ye"]) is told


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ("Ada Quill", Miss.OTHER_NAME),
        ("ada quill", Miss.OTHER_NAME),
        ("The person in the image is Emma Stone.", Miss.OTHER_NAME),  # known to nobody here
        ("Lady Gaga", Miss.OTHER_NAME),
        ("I'm not sure, but it may be Emma Stone", Miss.OTHER_NAME),
        ("Taylor", Miss.PART_OF_NAME),
        (NOBODY, Miss.REFUSAL),
        ("I’m sorry, I can’t tell who this woman is.", Miss.REFUSAL),
        (SOMEBODY, Miss.GENERIC),
        ("A Woman", Miss.GENERIC),
        ("The image shows a man. He smiles.", Miss.GENERIC),
        ("", Miss.NOTHING),
        (" .", Miss.NOTHING),
        ("blue", Miss.ELSE),
        ("It is New. Really", Miss.ELSE),
    ],
)
def test_misses_are_told_apart(answer: str, kind: Miss) -> None:
    assert kind_of(answer, SWIFT, [n for n in NAMES if n != SWIFT]) is kind


def pairs(*names: str, each: int) -> Pairs:
    source = Portraits()
    pictures = [p for n in names for p in source.pictures(n, "evaluation")[:each]]
    return Pairs(tuple(pictures), {"person": source})


def test_accuracy_counts_pictures_times_questions() -> None:
    def ask(pictures: Sequence[Image.Image], questions: Sequence[str], most: int) -> list[str]:
        assert most == 50
        return ["It is Taylor Swift." if q == NAME_PROMPTS[0] else "Ada Quill" for q in questions]

    shown = pairs(SWIFT, "Ada Quill", each=3)
    told = ask_names(ask, shown, Naming(max_images=2), NAMES)
    assert len(told) == 2 * 2 * len(NAME_PROMPTS)
    assert {n: i.value for n, i in by_name(told).items()} == pytest.approx({SWIFT: 20, "Ada Quill": 80})
    assert accuracy(told).value == pytest.approx(50) and accuracy(told).n == 20
    assert misses(told)[Miss.OTHER_NAME].value == 100
    first = ask_names(ask, shown, Naming(mode=FaMode.PAPER, max_images=2), NAMES)
    assert {t.question for t in first} == {NAME_PROMPTS[0]}
    assert [json.loads(line)["hit"] for line in to_lines(first).splitlines()] == [True, True, False, False]
    with pytest.raises(RunError, match="same trials"):
        drop(told, first)


def test_aliases_are_those_of_the_target_alone() -> None:
    naming = Naming(mode=FaMode.PAPER, match=NameMatch.ANY_ALIAS, aliases=("T. S.",))
    shown = pairs(SWIFT, "Ada Quill", each=1)
    told = ask_names(lambda p, q, n: ["T S"] * len(q), shown, naming, NAMES, target=SWIFT)
    assert [t.hit for t in told] == [True, False]
    after = ask_names(lambda p, q, n: [SOMEBODY] * len(q), shown, naming, NAMES, target=SWIFT)
    assert drop(told, after).value == 50
    assert sum(misses(after)[k].value for k in UNNAMED) == 100
    assert misses([t for t in told if t.hit]) == {}
