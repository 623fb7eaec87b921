"""Who is whose parent, which concepts go together, their prompts, and the builders of taxonomy files."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from razor_cli.data.builders import (
    ancestors,
    compcars_taxonomy,
    dog_taxonomy,
    parse_data_noun,
    parse_is_a,
    read_compcars,
    read_synsets,
    read_wordnet,
)
from razor_cli.data.choices import CoarseText
from razor_cli.data.fine_grained import embedded
from razor_cli.data.taxonomy import (
    Branch,
    choose,
    levels,
    read_branches,
    shipped,
    taxonomy_of,
    templates,
    write_branches,
)
from razor_cli.errors import ConfigError, DataError

PARENTS = {
    "beagle": "hound",
    "whippet": "hound",
    "pug": "toy dog",
    "collie": "shepherd dog",
    "briard": "shepherd dog",
}


def unasked() -> Mapping[str, float]:
    raise AssertionError("only a level asks the model")


def test_embedded_taxonomies_cover_every_concept() -> None:
    emoji, people = embedded("emoji"), embedded("portraits")
    assert set(emoji.parents) == set(emoji.source.concepts()) and len(emoji.parents) == 100
    assert set(people.parents) == set(people.source.concepts()) and len(people.parents) == 40
    assert set(emoji.parents.values()) == set(emoji.wording) and len(emoji.wording) == 6
    assert set(people.parents.values()) == set(people.wording) and len(people.wording) == 5
    assert min(Counter(people.parents.values()).values()) >= 3  # a parent is more than one name
    with pytest.raises(ConfigError, match="no taxonomy"):
        embedded("cifar10")


def test_shipped_lists_fit_their_taxonomies() -> None:
    lists = shipped()["lists"]
    for name, pictures in (("ten emoji", "emoji"), ("four portraits", "portraits")):
        chosen = choose(name, (), embedded(pictures).parents, unasked, "")
        assert chosen.label == name and set(chosen.names) == set(lists[name])
        assert (
            "no child of" not in chosen.note
        )  # every parent keeps a child, else its accuracy is of nothing but the forgotten
    assert [len(lists[f"ImgnetDogs {level}"]) for level in ("Difficult", "Medium", "Easy")] == [10, 10, 11]
    assert len(templates("ImgnetDogs")) == 80 and len(templates("CompCars-S")) == 8
    assert all("{}" in t for t in (*templates("imgnetdogs"), *templates("compcars-s")))
    assert len(shipped()["oxford_pet"]) == 37


@pytest.mark.parametrize(
    ("target", "forget", "names", "label"),
    [
        ("Beagle", (), ("beagle",), "beagle"),
        ("pug, Collie", (), ("pug", "collie"), "pug, collie"),
        ("hound", (), ("beagle", "whippet"), "hound"),
        ("the default", ("pug", "BEAGLE", "pug"), ("pug", "beagle"), "pug, beagle"),
        ("small dogs", ("pug",), ("pug",), "small dogs"),
        ("beagle, pug, collie, briard", (), ("beagle", "pug", "collie", "briard"), "beagle, pug and 2 more"),
    ],
)
def test_a_target_names_what_goes(
    target: str, forget: tuple[str, ...], names: tuple[str, ...], label: str
) -> None:
    chosen = choose(target, forget, PARENTS, unasked, "The Default")
    assert (chosen.names, chosen.label) == (names, label)
    assert f"{len(names)} concepts" in chosen.note


def test_a_parent_without_a_kept_child_is_named() -> None:
    assert "no child of hound is kept" in choose("hound", (), PARENTS, unasked, "").note
    assert "no child" not in choose("beagle", (), PARENTS, unasked, "").note


def test_unknown_targets_are_refused_with_what_there_is() -> None:
    with pytest.raises(DataError, match="beagel") as caught:
        choose("beagel", (), PARENTS, unasked, "")
    assert "beagle" in caught.value.message() and "difficult" in caught.value.message()
    with pytest.raises(DataError, match=r"data\.forget: 'pgu'"):
        choose("x", ("beagle", "pgu"), PARENTS, unasked, "")
    with pytest.raises(DataError, match="'Boston terrier' is not"):  # of a shipped list, what is missing
        choose("ImgnetDogs Difficult", (), {"German short-haired pointer": "pointer", **PARENTS}, unasked, "")
    with pytest.raises(DataError, match="all 5 concepts"):
        choose("", tuple(PARENTS), PARENTS, unasked, "")


def test_levels_are_consecutive_and_the_surest_is_the_most_difficult() -> None:
    sure = {f"c{i:02}": 1 - i / 100 for i in range(99)}
    found = levels(sure)
    assert list(found) == ["difficult", "medium", "easy"]
    assert [n for names in found.values() for n in names] == [f"c{i:02}" for i in range(30)]
    assert [len(v) for v in levels(dict.fromkeys(PARENTS, 0.5)).values()] == [
        1,
        1,
        1,
    ]  # five classes: a quarter each at most
    chosen = choose("Medium", (), PARENTS, lambda: {n: i / 10 for i, n in enumerate(PARENTS)}, "")
    assert chosen.names == ("collie",) and "collie 0.30" in chosen.note


def test_prompts_of_parents_are_names_or_all_their_members() -> None:
    by_name = taxonomy_of(PARENTS, domain="object", coarse_text=CoarseText.NAMES)
    assert by_name.coarse_names == ("hound", "shepherd dog", "toy dog")
    assert (
        by_name.coarse_prompts["hound"][0] == "a photo of a hound."
        and len(by_name.coarse_prompts["hound"]) == 4
    )
    said = taxonomy_of(
        PARENTS, domain="object", coarse_text=CoarseText.NAMES, wording={"hound": "hunting dogs"}
    )
    assert said.coarse_prompts["hound"][0] == "a photo of hunting dogs."
    members = taxonomy_of(PARENTS, domain="object", coarse_text=CoarseText.MEMBERS)
    for parent in members.coarse_names:
        own = [p for n, c in PARENTS.items() if c == parent for p in members.fine_prompts[n]]
        assert Counter(members.coarse_prompts[parent]) == Counter(
            own
        )  # each prompt once: the mean weighs members alike
    assert members.coarse_prompts["hound"][:2] == ("a photo of a beagle.", "a photo of a whippet.")
    given = taxonomy_of(
        {"X5": "BMW", "X6": "BMW"}, domain="object", coarse_text=CoarseText.NAMES, template_list=("my {}!",)
    )
    assert given.fine_prompts["X5"] == ("my X5!",) and given.coarse_prompts["BMW"] == ("my BMW!",)


def test_taxonomy_files_round_trip_and_errors_name_the_line(tmp_path: Path) -> None:
    branches = [
        Branch(fine="vizsla", coarse="pointer", folder="n02100583"),
        Branch(fine="pug, the", coarse="toy", same_as="Pug"),
    ]
    write_branches(tmp_path / "t.csv", branches)
    assert sorted(read_branches(tmp_path / "t.csv"), key=lambda b: b.coarse) == branches
    for text, message in (
        ("fine,kind\na,b\n", "columns fine and coarse"),
        ("fine,coarse\na,\n", "line 2"),
        ("fine,coarse\na,x\nA,y\n", "line 3"),
        ("fine,coarse\n", "no rows"),
    ):
        (tmp_path / "bad.csv").write_text(text)
        with pytest.raises(DataError, match=message):
            read_branches(tmp_path / "bad.csv")
    with pytest.raises(DataError, match="there is no"):
        read_branches(tmp_path / "none.csv")


DATA_NOUN = """\
  1 This is the head, which is no synset.
02083346 05 n 02 canine 0 canid 0 000 | a mammal
02084071 05 n 03 dog 0 domestic_dog 0 Canis_familiaris 0 001 @ 02083346 n 0000 | a common dog
02087122 05 n 01 hunting_dog 0 001 @ 02084071 n 0000 | hunts
02087551 05 n 02 hound 0 hound_dog 0 002 @ 02087122 n 0000 ~ 02088364 n 0000 | hunts by scent
02088364 05 n 01 beagle 0 001 @ 02087551 n 0000 | small
02085374 05 n 02 toy_dog 0 toy 0 001 @ 02084071 n 0000 | lap
02086478 05 n 01 toy_spaniel 0 001 @ 02085374 n 0000 | small
02086646 05 n 02 Blenheim_spaniel 0 king 0 002 @ 02086478 n 0000 @ 02101670 n 0000 | red and white
02101670 05 n 01 spaniel 0 001 @ 02087122 n 0000 | silky
02106662 05 n 03 German_shepherd 0 German_shepherd_dog 0 alsatian 0 001 @ 02087122 n 0000 | large
02121808 05 n 01 domestic_cat 0 001 @ 02083346 n 0000 | a cat
"""


def test_breeds_stand_below_their_nearest_published_parent() -> None:
    net = parse_data_noun(DATA_NOUN.splitlines())
    assert net.words["n02084071"] == ("dog", "domestic dog", "Canis familiaris")
    assert ancestors(net.parents, "n02088364") == ["n02087551", "n02087122", "n02084071", "n02083346"]
    built = dog_taxonomy(net, ["n02088364", "n02086646", "n02106662", "n02121808", "n02101670", "n09999999"])
    found = {b.fine: (b.coarse, b.folder) for b in built.branches}
    assert found["beagle"] == ("hound", "n02088364")
    assert found["Blenheim spaniel"] == ("spaniel", "n02086646")  # one step up; toy dog is two
    assert built.left_out == {
        "n02106662": "without one of these parents",
        "n02121808": "no dogs",
        "n02101670": "without one of these parents",
        "n09999999": "not in this WordNet",
    }
    assert "2 coarse and 2 fine classes (published: 14 and 99)" in built.summary()
    assert (
        dog_taxonomy(net, ["n02106662"], ["hunting dog"]).branches[0].fine == "German shepherd dog"
    )  # as the lists call it


def test_imagenet_lists_give_the_same_taxonomy_as_wordnet_itself(tmp_path: Path) -> None:
    net = parse_data_noun(DATA_NOUN.splitlines())
    is_a = [f"{above} {below}" for below, parents in net.parents.items() for above in parents]
    words = [f"{synset}\t{', '.join(names)}" for synset, names in net.words.items()]
    assert parse_is_a(is_a, words).parents["n02086646"] == net.parents["n02086646"]
    (tmp_path / "wordnet.is_a.txt").write_text("\n".join(is_a) + "\n")
    (tmp_path / "words.txt").write_text("\n".join(words) + "\n")
    breeds = ["n02088364", "n02086646"]
    assert dog_taxonomy(read_wordnet(tmp_path), breeds) == dog_taxonomy(net, breeds)
    (tmp_path / "train" / "n02088364").mkdir(parents=True)
    (tmp_path / "train" / "readme").mkdir()
    assert read_synsets(tmp_path) == ["n02088364"]
    for read, message in (
        (read_wordnet, "no WordNet"),
        (read_synsets, "no folders called like synsets"),
        (read_compcars, "CompCars"),
    ):
        with pytest.raises(DataError, match=message):
            read(tmp_path / "elsewhere")  # type: ignore[operator]
    with pytest.raises(DataError, match=re.escape("data.noun")):
        parse_data_noun(["02083346 05 n zz"])


def test_compcars_keeps_models_of_the_makes_with_enough_pictures() -> None:
    makes, models = ["Audi", "Zotye", "Ford "], ["Audi A7", "", "Z300", "Mustang", "Mustang", "Audi A1"]
    counts = {(1, 1): 80, (1, 2): 90, (2, 3): 99, (3, 4): 60, (3, 5): 70, (1, 6): 49}
    built = compcars_taxonomy(makes, models, counts)
    assert {(b.fine, b.coarse, b.folder) for b in built.branches} == {
        ("Audi A7", "Audi", "image/1/1"),
        ("Mustang", "Ford", "image/3/5"),
    }
    assert Counter(built.left_out.values()) == {
        "without a name": 1,
        "of other makes": 1,
        "called like another": 1,
        "with fewer than 50 pictures": 1,
    }
    assert len(compcars_taxonomy(makes, models, counts, wanted=["zotye"], min_pictures=1).branches) == 1
