"""Data without a data set, and pictures of the user's own for models that draw."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from drawn_places import Easel, asked, write_canvas
from pictures import captioned, write_folder, write_shard

from razor_cli.data.kinds.drawn import without_names
from razor_cli.data.kinds.drawn_folder import DrawnFolder
from razor_cli.data.kinds.generated import Generated
from razor_cli.data.wording import KINDS, Frame, Written, natural_words, shipped, template_problem
from razor_cli.errors import ConfigError, DataError

NAMES = {"style": "Van Gogh", "object": "cat", "identity": "Elon Musk", "character": "Snoopy"}


@pytest.mark.parametrize("axis", KINDS)
@pytest.mark.parametrize("stand_in", [False, True])
def test_sets_need_no_picture_and_none_is_drawn_beforehand(axis: str, stand_in: bool) -> None:
    easel = Easel()
    target = {"style": "Noto", "object": "Cats", "character": "Pim Puddle"}.get(axis, NAMES[axis])
    ask = asked(axis, target if stand_in else NAMES[axis], stand_in=stand_in, draw=easel)
    data = Generated()
    assert list(data.problems(ask)) == []
    sets = data.sets(ask)
    assert sets.sizes()["forget"] == 64 and sets.sizes()["retain"] == 96 and easel.calls == []
    assert {k: v for k, v in data.at_most.items() if k != "suite"} == sets.sizes()
    assert all(sets.target in c for c in sets.forget.captions)
    assert not any(sets.target in c for c in (*sets.retain.captions, *sets.retain_prompts))
    seeds = [{int(k.split("/")[3]) for k in part.keys} for part in (sets.forget, sets.retain)]
    judged = {s.seed for s in (*sets.validation, *sets.evaluation)}
    assert not seeds[0] & seeds[1] and not (seeds[0] | seeds[1]) & judged


def test_pictures_are_drawn_when_they_are_looked_at_by_prompt_and_seed() -> None:
    easel = Easel()
    sets = Generated(steps=7, guidance=2.5).sets(asked("style", "Van Gogh", draw=easel))
    images = sets.forget.load(2, 5)
    assert len(images) == 3 == len(easel.calls) and {c[2:] for c in easel.calls} == {(7, 2.5)}
    assert [c[0] for c in easel.calls] == list(sets.forget.captions[2:5])
    keys = sets.forget.keys[2:5]
    assert [k.split("/")[1:4] for k in keys] == [["7", "2.5", str(c[1])] for c in easel.calls]
    other = Generated(steps=8, guidance=2.5).sets(asked("style", "Van Gogh"))
    assert other.forget.fingerprint() != sets.forget.fingerprint()
    assert other.evaluation.fingerprint() == sets.evaluation.fingerprint()


def test_without_a_model_the_reason_is_told_when_a_picture_is_asked_for() -> None:
    sets = Generated().sets(asked("object", "cat"))
    with pytest.raises(ConfigError, match="no model is loaded here"):
        sets.retain.load(0, 1)


def test_half_of_what_stays_are_names_the_nearest_first_and_half_neutral_captions() -> None:
    sets = Generated().sets(asked("style", "Van Gogh"))
    named = [c for c in sets.retain.captions if any(n in c for n in sets.labels["style"])]
    assert len(named) == 48 and set(sets.retain.captions) - set(named) <= set(shipped()["neutral"])
    assert sets.near == ("Claude Monet", "Paul Cezanne")
    assert "Claude Monet" in named[0] and any("unedited model's own" in n for n in sets.notes)


def test_names_and_sentences_of_the_users_own_go_before_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("a lamp\n\na rug\na cat on a rug\n")
    data = Generated(
        alternatives=["dog", "Cat", "cow"],
        partners=["photo", "sketch"],
        templates=["{style}: {object}"],
        trial_templates=["{object} as {style}"],
        unseen_templates=["{object}; {style}"],
        neutral_file=tmp_path / "n.txt",
        aliases=["cow"],
    )
    sets = data.sets(asked("object", "cat"))
    assert sets.labels == {"object": ("cat", "dog"), "style": ("photo", "sketch")}
    assert set(sets.forget.captions) == {"a photo: a cat", "a sketch: a cat"}
    assert {s.template for s in sets.validation} == {"{object} as {style}"}
    assert {"a lamp", "a rug"} <= set(sets.retain_prompts) and "a cat on a rug" not in sets.retain_prompts
    assert sets.aliases == ("cow",)
    (tmp_path / "n.txt").write_text("a cat\ntwo cats\n")
    with pytest.raises(DataError, match="every caption names the target"):
        data.sets(asked("object", "cat"))
    (tmp_path / "n.txt").write_text("\n")
    with pytest.raises(DataError, match=r"data\.neutral_file holds no caption"):
        data.sets(asked("object", "cat"))


def test_a_shipped_name_that_shares_a_word_with_the_target_is_left_out() -> None:
    assert "Van Gogh" not in Generated().labels(asked("style", "Vincent van Gogh"))["style"][1:]


def test_captions_are_left_out_in_singular_and_plural() -> None:
    captions = ["a cat on a chair", "two cats", "a category", "fish and chips"]
    assert without_names(captions, ["Cats"]) == ("a category", "fish and chips")
    assert without_names(captions, ["cat", "Fishes"]) == ("a category",)


@pytest.mark.parametrize(
    ("settings", "axis", "what"),
    [
        (
            {"templates": ["a photo of {name}"]},
            "style",
            r"data\.templates: a template needs \{object\} and \{style\}",
        ),
        (
            {"trial_templates": ["{name} {what}"]},
            "identity",
            r"data\.trial_templates: a template needs \{name\}",
        ),
        ({"unseen_templates": ["{name"]}, "identity", r"data\.unseen_templates: a template cannot be read"),
        ({"partners": ["hat"]}, "identity", r"data\.partners"),
        ({"aliases": ["van gogh"]}, "style", r"data\.aliases repeats the target"),
        ({"retain_near": ["Nobody"]}, "style", r"data\.retain_near='Nobody'"),
        ({"alternatives": ["van gogh"]}, "style", r"data\.alternatives names nothing but the target"),
        ({"neutral_file": Path("nowhere.txt")}, "style", r"data\.neutral_file: no such file"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_key(settings: dict[str, object], axis: str, what: str) -> None:
    problems = [p.what for p in Generated(**settings).problems(asked(axis, NAMES[axis]))]  # type: ignore[arg-type]
    assert len(problems) == 1 and re.search(what, problems[0])


@pytest.mark.parametrize(
    "settings", [{"steps": 0}, {"guidance": -1.0}, {"alternatives": [" "]}, {"anchor": ""}, {"aliases": [""]}]
)
def test_ranges(settings: dict[str, object]) -> None:
    (key,) = settings
    with pytest.raises(ConfigError, match=rf"data\.{key}"):
        Generated(**settings)  # type: ignore[arg-type]


def test_a_stand_in_is_asked_for_what_it_knows() -> None:
    (problem,) = Generated().problems(asked("style", "Van Gogh", stand_in=True))
    assert "no such style" in problem.what
    sets = Generated().sets(asked("style", "noto", stand_in=True))
    assert sets.target == "Noto" and sets.forget.captions[0].endswith("in Noto style.")


def test_shipped_wordings_have_the_slots_of_their_kinds() -> None:
    for axis, kinds in (("style", KINDS[:2]), ("object", KINDS[:2]), ("identity", KINDS[2:3])):
        words = natural_words(axis)
        frame = words.crossed if axis != "identity" else words.single[axis]
        every = (frame.benchmark, *frame.trials, *frame.unseen)
        assert len(set(every)) == len(every)
        assert [template_problem(t, kinds, "k") for t in every] == [None] * len(every)
    assert natural_words("object").written["object"] is Written.ARTICLE
    with pytest.raises(ConfigError, match="cannot be read"):
        Frame(benchmark="{", trials=(), unseen=())


def test_own_pictures_are_all_forgotten_with_and_what_is_judged_is_drawn(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"Van Gogh": 14, "Monet": 30})
    (root / "Van Gogh" / "000.txt").write_text("a field")
    (root / "Monet" / "000.txt").write_text("after van gogh")
    data = DrawnFolder(root=root)
    ask = asked("style", "van gogh")
    assert list(data.problems(ask)) == []
    sets = data.sets(ask)
    assert sets.sizes()["forget"] == 14 and sets.sizes()["retain"] == 29
    assert sorted(sets.forget.captions)[:2] == ["a field", "a painting in the style of van gogh"]
    assert "forget: 1 captions do not name the target" in sets.notes
    assert sets.labels["style"] == ("van gogh", "Monet") and data.at_most["forget"] == 1200
    assert DrawnFolder(root=root, n_forget=5, n_retain=6).sets(ask).sizes()["forget"] == 5


def test_what_stays_comes_from_shards_without_the_targets_name(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"Elon Musk": 12})
    texts = [f"a thing {i}" for i in range(8)] + ["#elonmusk", "Elon Musk smiles", "a rocket of SpaceX"]
    write_shard(tmp_path / "laion" / "00000.tar", captioned(texts, 500))
    data = DrawnFolder(root=root, retain_root=tmp_path / "laion", keyword="spacex")
    sets = data.sets(asked("identity", "Elon Musk"))
    assert set(sets.retain.captions) == set(texts[:8])
    assert "retain: 3 captions that name the target left out" in sets.notes
    assert len(sets.labels["identity"]) == 12


def test_what_stays_comes_from_other_cells_of_a_canvas(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"cats": 12}, start=9000)
    canvas = write_canvas(tmp_path / "canvas", each=4)
    sets = DrawnFolder(root=root, retain_root=canvas, n_retain=6).sets(asked("object", "cats"))
    assert len(sets.retain) == 6 and all("Dogs image in" in c for c in sets.retain.captions)


def test_a_picture_that_shows_the_target_is_not_kept(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"Ada": 12})
    other = write_folder(tmp_path / "r", {"Bo": 16})  # the first twelve are Ada's files
    sets = DrawnFolder(root=root, retain_root=other).sets(asked("identity", "Ada"))
    assert len(sets.retain) == 4
    with pytest.raises(DataError, match="the target is among the concepts to keep"):
        DrawnFolder(root=root, retain_root=write_folder(tmp_path / "x", {"ada": 2}, 70)).sets(
            asked("identity", "Ada")
        )


def test_folders_that_do_not_serve_are_refused(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "d", {"Ada": 5})
    ask = asked("identity", "Ada")
    told = [p.what for p in DrawnFolder(root=root).problems(ask)]
    assert len(told) == 1 and "data.retain_root is needed" in told[0]
    assert "data.root is needed" in next(iter(DrawnFolder().problems(ask))).what
    write_folder(root, {"Bo": 5}, 40)
    with pytest.raises(DataError, match=r"too few pictures of target='Ada'"):
        DrawnFolder(root=root).sets(ask)
    with pytest.raises(DataError, match="no folder of that name"):
        DrawnFolder(root=root).sets(asked("identity", "Cleo"))


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"steps": 1001}, {"guidance": -1.0}])
def test_a_sampler_that_cannot_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{next(iter(wrong))} is out of range"):
        Generated(**wrong)
