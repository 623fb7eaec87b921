"""UnlearnCanvas: both layouts give the same sets, names are the benchmark's, other folders are told apart."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from drawn_places import asked, write_canvas, write_canvas_rows
from pictures import picture_bytes, write_folder
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.data.answers import ALLOWED, answer_name, answers_in
from razor_cli.data.choices import AnswerSet, SeedPrompt, Styles
from razor_cli.data.kinds.unlearncanvas import UnlearnCanvas, canvas_names
from razor_cli.data.sources.unlearncanvas import UnlearnCanvas as Source
from razor_cli.errors import ConfigError, DataError
from razor_cli.families.diffusion.naming import names_of, put
from razor_cli.methods.diffusion.wording import texts_of

BENCH = canvas_names(Styles.BENCH50, photographs=True)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_canvas(tmp_path_factory.mktemp("canvas") / "data")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_canvas_rows(tmp_path_factory.mktemp("packed") / "data" / "train-00000-of-00001.parquet")


def test_names_are_those_of_the_benchmark() -> None:
    assert (len(BENCH["style"]), len(BENCH["object"])) == (51, 20)
    assert BENCH["style"].index("Seed_Images") == 38 and BENCH["style"][37:40:2] == ("Rust", "Sketch")
    assert len(canvas_names(Styles.ALL60, photographs=False)["style"]) == 60
    assert BENCH["object"] == tuple(sorted(BENCH["object"]))


def test_train_is_the_first_eighteen_of_twenty_by_number(folders: Path) -> None:
    source = Source(folders, BENCH["style"], BENCH["object"])
    train, rest = (source.pictures("Van_Gogh/Cats", s) for s in ("train", "evaluation"))
    assert (len(train), len(rest)) == (18, 2) and source.pictures("Van_Gogh/Cats", "validation") == []
    assert picture_bytes(18, "JPEG") == (folders / "Van_Gogh/Cats/19.jpg").read_bytes()
    held = {p.key for p in rest}
    assert {source._found[k].file.name for k in held} == {"19.jpg", "20.jpg"}
    assert not held & {p.key for p in train} and source.load(train[:2])[0].size == (24, 24)


def test_both_layouts_hold_the_same_pictures(folders: Path, packed: Path) -> None:
    data = UnlearnCanvas(root=folders, n_forget=36, n_retain=40)
    sets = [
        UnlearnCanvas(root=r, n_forget=36, n_retain=40).sets(asked("style", "van gogh"))
        for r in (folders, packed)
    ]
    assert data.at_most["forget"] == 36
    forget = [set(s.forget.keys) for s in sets]
    assert forget[0] == forget[1] and len(forget[0]) == 36  # all of the train part
    assert [s.target for s in sets] == ["Van_Gogh", "Van_Gogh"]
    assert sets[1].retain.load(0, 3)[0].mode == "RGB"


def test_sizes_are_the_papers_where_none_are_given() -> None:
    assert UnlearnCanvas().at_most["forget"] == 1200 and UnlearnCanvas().n_retain == 7900


def test_captions_and_prompts_are_worded_as_the_benchmark_words_them(folders: Path) -> None:
    data = UnlearnCanvas(root=folders)
    sets = data.sets(asked("object", "cats"))
    assert set(sets.forget.captions) == {
        f"A Cats image in {s} style." for s in ("Van Gogh", "Monet", "Photo")
    }
    assert any(n.startswith("data.root: ") and "cells have no picture" in n for n in sets.notes)
    literal = UnlearnCanvas(root=folders, seed_prompt=SeedPrompt.LITERAL).sets(asked("object", "cats"))
    assert "A Cats image in Seed Images style." in literal.forget.captions
    assert sets.near == ("Dogs", "Rabbits") and sets.labels["object"][0] == "Cats"
    assert not any("cat" in p.casefold().split() for p in sets.retain_prompts)
    bare = UnlearnCanvas(root=folders, seed_images=False)
    assert "Seed_Images" not in bare.labels()["style"]


def test_the_whole_answer_set_is_5100_pictures(folders: Path) -> None:
    sets = UnlearnCanvas(root=folders, answer_set=AnswerSet.ANSWER_SET).sets(asked("style", "Monet"))
    assert len(sets.evaluation) == 5100 and len(sets.evaluation.of("style", ["Monet"])) == 100
    assert len(sets.retain_prompts) > 500


@pytest.mark.parametrize(
    ("axis", "target", "fix"),
    [("style", "Van Gog", "Van_Gogh"), ("object", "Dragons", "Dogs"), ("style", "Cats", "scenario=object")],
)
def test_unknown_names_are_answered_with_near_ones(axis: str, target: str, fix: str, folders: Path) -> None:
    (problem,) = UnlearnCanvas(root=folders).problems(asked(axis, target))
    assert fix in str(problem.fix)


def test_persons_and_missing_folders_are_refused(tmp_path: Path) -> None:
    told = [p.what for p in UnlearnCanvas().problems(asked("identity", "Elon Musk"))]
    assert any("shows no identity" in t for t in told) and any("data.root is needed" in t for t in told)
    (missing,) = UnlearnCanvas(root=tmp_path / "nowhere").problems(asked("style", "Monet"))
    assert "data.root: no such file or folder" in missing.what


def test_folders_of_another_layout_are_told_apart(tmp_path: Path, folders: Path) -> None:
    other = write_folder(tmp_path / "own", {"Ada": 3})
    ask = asked("style", "Monet")
    with pytest.raises(DataError, match="no picture of UnlearnCanvas") as refused:
        UnlearnCanvas(root=other).sets(ask)
    assert "data=folder" in str(refused.value.fix) and refused.value.found == "Ada"
    with pytest.raises(DataError) as refused:
        UnlearnCanvas(root=folders.parent).sets(ask)
    assert str(refused.value.fix) == f"data.root={folders}"
    with pytest.raises(DataError) as refused:
        UnlearnCanvas(root=folders / "Monet").sets(ask)
    assert str(refused.value.fix) == f"data.root={folders}"
    shutil.copytree(folders / "Monet", tmp_path / "few" / "Monet")
    with pytest.raises(DataError, match="too few pictures of target='Van_Gogh'"):
        UnlearnCanvas(root=tmp_path / "few").sets(asked("style", "Van Gogh"))


def test_parquet_of_something_else_is_refused(tmp_path: Path) -> None:
    root = write_canvas_rows(tmp_path / "d" / "train.parquet", each=2, styles=("Unheard_Of",))
    with pytest.raises(DataError, match="no row of UnlearnCanvas"):
        UnlearnCanvas(root=root).sets(asked("style", "Monet"))
    (tmp_path / "d" / "train.parquet").write_bytes(b"no parquet")
    with pytest.raises(DataError, match="no readable column text"):
        UnlearnCanvas(root=root).sets(asked("style", "Monet"))


def test_damaged_pictures_are_counted_and_too_many_stop_the_run(tmp_path: Path) -> None:
    root = write_canvas(tmp_path / "c", each=8)
    (root / "Monet/Cats/1.jpg").write_bytes(b"\xff\xd8 cut off")
    sets = UnlearnCanvas(root=root, max_corrupt=0.5).sets(asked("style", "Monet"))
    assert any("1 of" in n and "corrupt" in n for n in sets.notes) and sets.sizes()["forget"] == 13
    with pytest.raises(DataError, match=r"(?s)pictures are corrupt.*data\.max_corrupt"):
        UnlearnCanvas(root=root).sets(asked("style", "Monet"))


def test_range_of_settings() -> None:
    with pytest.raises(ConfigError, match=r"data\.max_corrupt"):
        UnlearnCanvas(max_corrupt=1)
    with pytest.raises(ConfigError, match=r"data\.min_forget"):
        UnlearnCanvas(min_forget=0)


def write_answers(root: Path, names: list[str]) -> Path:
    root.mkdir()
    for i, name in enumerate(names):
        (root / f"{name}.jpg").write_bytes(picture_bytes(i % 7, "JPEG", (8, 8)))
    return root


def test_answers_are_counted_as_there_missing_unreadable_and_strange(tmp_path: Path) -> None:
    names = [answer_name("Van_Gogh", o, s) for o in ("Cats", "Dogs") for s in (188, 288)]
    root = write_answers(tmp_path / "a", [*names, "Van_Gogh_Cats_seed1", "holiday"])
    (root / f"{names[0]}.jpg").write_bytes(b"\xff\xd8")
    (root / "again").mkdir()
    shutil.copy(root / f"{names[1]}.jpg", root / "again")
    found = answers_in(root, BENCH["style"], BENCH["object"])
    assert set(found.there) == set(names[1:]) and set(found.unreadable) == {names[0]}
    assert len(found.missing) == 5096 and found.repeated == (names[1],)
    assert set(found.strange) == {"Van_Gogh_Cats_seed1.jpg", "holiday.jpg"}


def test_command_says_which_answers_are_missing(tmp_path: Path) -> None:
    root = write_answers(tmp_path / "a", [answer_name("Monet", "Cats", 188)])
    out = tmp_path / "missing.txt"
    done = CliRunner().invoke(app, ["check", "answers", "--root", str(root), "--out", str(out)])
    assert done.exit_code == 0 and "1 of 5,100 pictures are there, 5,099 missing, 0 unreadable" in done.output
    assert len(out.read_text().splitlines()) == 5099
    done = CliRunner().invoke(app, ["check", "answers", "--root", str(root), "--styles", "all60"])
    assert "1 of 6,100" in done.output


def test_command_refuses_a_folder_without_answers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no answer of the set") as refused:
        answers_in(write_folder(tmp_path / "x", {"Ada": 1}), BENCH["style"], BENCH["object"])
    assert refused.value.allowed == ALLOWED


@pytest.mark.parametrize("layout", ["folders", "packed"])
def test_command_counts_the_cells_of_a_canvas(layout: str, request: pytest.FixtureRequest) -> None:
    root = request.getfixturevalue(layout)
    done = CliRunner().invoke(app, ["check", "unlearncanvas", "--root", str(root), "--target", "van gogh"])
    assert "120 pictures; 6 of 1,020 cells are whole" in done.output
    assert "40 pictures show Van_Gogh" in done.output


def test_methods_say_a_name_as_the_prompts_do(folders: Path) -> None:
    for axis, target, said in (("style", "van gogh", "Van Gogh"), ("object", "cats", "Cats")):
        sets = UnlearnCanvas(root=folders).sets(asked(axis, target))
        assert names_of(sets) == [said] and all(said in prompt for prompt in sets.target_prompts)
        assert texts_of("prompts", {axis: ["{} now"]}, sets) == [f"{said} now"]
        assert said not in put(sets.target_prompts[0], names_of(sets), "Photo")
    assert put("A sea seen by the sea.", ["sea"], "Photo") == "A Photo seen by the Photo."
