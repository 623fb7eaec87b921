"""Captions beside pictures: which picture a row means, what belongs to none, and what a run and a look say of
it.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from pictures import picture_bytes, write_folder
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.data.ask import Ask
from razor_cli.data.kinds import own
from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.folder import Folder
from razor_cli.errors import DataError


def captions(root: Path, concept: str = "Ada") -> tuple[set[str | None], list[str]]:
    folder = Folder(root)
    found = {p.caption for split in SPLITS for p in folder.pictures(concept, split)}
    return found, folder.tally.notes()


def listed(root: Path, rows: list[tuple[str, str]], count: int = 4) -> Path:
    write_folder(root, {"Ada": count})
    text = "".join(f"{file},{caption}\n" for file, caption in rows)
    (root / "Ada" / "captions.csv").write_text(f"file,caption\n{text}")
    return root


@pytest.mark.parametrize("form", ["images\\{}.png", "a/b/{}.png", "{}.PNG", "{}", " {}.png "])
def test_a_row_means_the_picture_it_can_only_mean(form: str, tmp_path: Path) -> None:
    listed(tmp_path, [(form.format(f"{n:03}"), f"number {n}") for n in range(4)])
    assert captions(tmp_path) == ({f"number {n}" for n in range(4)}, [])


def test_unicode_forms_of_one_name_agree(tmp_path: Path) -> None:
    listed(tmp_path, [("Zoe\u0308.png", "she")], 1)
    (tmp_path / "Ada" / "000.png").rename(tmp_path / "Ada" / "Zo\u00eb.png")
    assert captions(tmp_path)[0] == {"she"}


def test_rows_that_mean_none_or_several_are_counted(tmp_path: Path) -> None:
    listed(tmp_path, [("000.png", "zero"), ("gone.png", "x"), ("001.jpg", "x"), ("002", "x")])
    (tmp_path / "Ada" / "002.jpg").write_bytes(picture_bytes(77, "JPEG"))
    found, notes = captions(tmp_path)
    assert found == {"zero", None}
    assert (
        "data.root: rows of captions that name no picture, or several: 3, such as 'gone.png' of "
        "Ada/captions.csv, line 3" in notes
    )
    assert (
        "data.root: pictures without a caption beside others that have one: 4, such as Ada/001.png" in notes
    )


def test_a_list_that_names_nothing_is_refused(tmp_path: Path) -> None:
    listed(tmp_path, [(f"gone{n}.jpg", "x") for n in range(4)])
    with pytest.raises(DataError, match=r"(?s)none of its 4 rows.*'000\.png'.*'gone0\.jpg'.*line 2"):
        captions(tmp_path)


def test_an_empty_caption_is_none(tmp_path: Path) -> None:
    listed(tmp_path, [("000.png", "zero"), ("001.png", ""), ("002.png", " "), ("003.png", "three")])
    found, notes = captions(tmp_path)
    assert found == {"zero", "three", None}
    assert notes == ["data.root: empty captions, read as none: 2, such as Ada/001.png"]


def test_two_captions_of_one_picture_must_agree(tmp_path: Path) -> None:
    listed(tmp_path, [("000.png", "zero"), ("x/000.PNG", "zero"), ("001.png", "one")])
    assert captions(tmp_path)[0] == {"zero", "one", None}
    listed(tmp_path, [("a/000.png", "zero"), ("b/000.png", "another")])
    with pytest.raises(DataError, match=r"(?s)two captions of the picture '000\.png'.*line 2 and .*line 3"):
        captions(tmp_path)
    listed(tmp_path, [("000.png", "zero")])
    (tmp_path / "Ada" / "captions.jsonl").write_text('{"file": "000.png", "caption": "another"}')
    with pytest.raises(DataError, match=r"captions\.csv, line 2 and captions\.jsonl, line 1"):
        captions(tmp_path)


def test_texts_beside_no_picture_and_beside_a_list_are_counted(tmp_path: Path) -> None:
    listed(tmp_path, [("000.png", "in the list"), ("001.png", "one")], 2)
    (tmp_path / "Ada" / "000.TXT").write_text("beside")
    (tmp_path / "Ada" / "009.txt").write_text("whose?")
    found, notes = captions(tmp_path)
    assert found == {"beside", "one"}
    assert notes == [
        "data.root: texts beside no picture: 1, such as Ada/009.txt",
        "data.root: captions of a list not used, as a text lies beside the picture: 1, such as Ada/000.png",
    ]


def untidy(root: Path) -> Path:
    """Write a folder with everything that a run does not read."""
    write_folder(root, {"Ada": 16, "Bo": 30})
    for name in ("Ada/a.heic", "Ada/b.HEIC", "Ada/c.gif", "Ada/noending", "captions.csv"):
        (root / name).write_bytes(b"x")
    for name in ("Ada/album/1.png", "Ada/album/2.png", "deep/er/3.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture_bytes(900))
    listed(root, [("000.png", "zero"), ("gone.png", "x")])
    return root


UNUSED = [
    "files beside the folders of concepts, which are not read: 1, such as captions.csv",
    "folders without pictures of their own: 1, such as deep",
    "pictures in deeper folders, which are not read: 3, such as deep/er/3.png",
    ".heic files, which are not read: 2, such as Ada/a.heic",
    ".gif files, which are not read: 1, such as Ada/c.gif",
    "files without an ending, which are not read: 1, such as Ada/noending",
    "rows of captions that name no picture, or several: 1, such as 'gone.png' of Ada/captions.csv, line 3",
    "pictures without a caption beside others that have one: 15, such as Ada/001.png",
]


def test_what_is_not_used_is_said_by_a_run_and_by_a_look_alike(tmp_path: Path) -> None:
    root = untidy(tmp_path)
    sets = own.Folder(root=root).sets(Ask(target="Ada"))
    told = [f"data.root: {u}" for u in UNUSED]
    assert list(sets.notes[: len(told)]) == told
    seen = CliRunner().invoke(app, ["inspect", "--root", str(root)])
    assert seen.output.splitlines()[-len(told) :] == told
    plan = CliRunner().invoke(app, ["inspect", "--root", str(root), "--target", "Ada"])
    assert plan.output.splitlines()[-len(sets.notes) :] == list(sets.notes)


@pytest.mark.parametrize("kind", [own.Folder, own.WebDataset])
def test_a_look_has_the_defaults_of_a_run(kind: type[own.OwnPictures], tmp_path: Path) -> None:
    asked = checked(read([f"data={kind.kind}", f"data.root={write_folder(tmp_path, {'a': 1, 'b': 1})}"])).data
    assert asked == kind(root=tmp_path)
