"""Lists, captions and taxonomies of the user's: one way to read them, whichever program saved them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from benchmark_files import write_celeba, write_imagenet, write_solution, write_train, write_val
from pictures import picture_bytes, write_folder

from razor_cli.data.builders import read_wordnet
from razor_cli.data.sources.celeba import CelebA, read_names
from razor_cli.data.sources.folder import Folder
from razor_cli.data.sources.imagenet import ImageNet
from razor_cli.data.sources.labelled import Labelled
from razor_cli.data.taxonomy import read_branches
from razor_cli.data.texts import MAX_LINE, decoded, read_csv, read_table
from razor_cli.errors import DataError

Case = tuple[Path, Callable[[], object]]


def caption_list(root: Path, name: str) -> Case:
    write_folder(root, {"Ada": 8})
    return root / "Ada" / name, lambda: Folder(root).pictures("Ada", "train")


def celeba_list(root: Path, name: str) -> Case:
    write_celeba(root, {"Ada_Quill": 3, "Bo_Diaz": 3})
    if name == "identity_names.txt":
        lines = (root / "list_identity_celeba.txt").read_text().replace("Ada_Quill", "1")
        (root / "list_identity_celeba.txt").write_text(lines.replace("Bo_Diaz", "2"))
    return root / name, lambda: CelebA(root).frequent()


def solution(root: Path, name: str) -> Case:
    root, order = write_train(root, count=2)
    write_val(root / "val", order, flat=True)
    write_solution(root / "LOC_val_solution.csv", order)
    return root / name, lambda: ImageNet(root).present


def truths(root: Path, name: str) -> Case:
    root, order = write_train(root, count=2)
    write_val(root / "val", order, flat=True)
    (root / "map_clsloc.txt").write_text("n01440764 1 tench\n")
    (root / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n" * len(order))
    return root / name, lambda: ImageNet(root).present


def pets(root: Path, name: str) -> Case:
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    for n in range(8):
        (root / "images" / f"Pug_{n}.jpg").write_bytes(picture_bytes(n, "JPEG"))
    return root / name, lambda: Labelled(root).concepts()


def wordnet(root: Path, name: str) -> Case:
    root.mkdir(parents=True)
    (root / "wordnet.is_a.txt").write_text("a b\n")
    (root / "words.txt").write_text("a\tone\n")
    return root / name, lambda: read_wordnet(root)


def alone(read: Callable[[Path], object]) -> Callable[[Path, str], Case]:
    def case(root: Path, name: str) -> Case:
        root.mkdir(parents=True)
        return root / name, lambda: read(root / name)

    return case


READERS: list[tuple[Callable[[Path, str], Case], str]] = [
    (caption_list, "captions.csv"),
    (caption_list, "captions.jsonl"),
    (caption_list, "000.txt"),
    (celeba_list, "list_identity_celeba.txt"),
    (celeba_list, "identity_names.txt"),
    (celeba_list, "frequent_celebs.txt"),
    (solution, "LOC_val_solution.csv"),
    (truths, "ILSVRC2012_validation_ground_truth.txt"),
    (truths, "map_clsloc.txt"),
    (pets, "annotations/list.txt"),
    (wordnet, "wordnet.is_a.txt"),
    (wordnet, "words.txt"),
    (wordnet, "data.noun"),
    (alone(read_branches), "taxonomy.csv"),
    (alone(read_names), "names.txt"),
]


@pytest.mark.parametrize(("case", "name"), READERS, ids=[name for _, name in READERS])
def test_every_list_names_file_and_line_and_what_to_do(
    case: Callable[[Path, str], Case], name: str, tmp_path: Path
) -> None:
    file, read = case(tmp_path / "d", name)
    for data, found in (
        ("file,caption\n000.png,Zoë\n".encode("cp1252"), r"line 2, byte \d+ of the file: 0xeb"),
        ("file,caption\n000.png,Zoe\n".encode("utf-16-le"), "NUL byte in line 1"),
        (b"\xff\xfea", "is not UTF-16 text"),
    ):
        file.write_bytes(data)
        with pytest.raises(DataError, match=rf"(?s){re.escape(str(file))}.*{found}.*save it as UTF-8"):
            read()
    file.write_bytes(b"x" * (MAX_LINE + 1))
    with pytest.raises(DataError, match=r"(?s)100,001 characters|too large"):
        read()


@pytest.mark.parametrize("coding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_marks_and_line_ends_of_spreadsheet_programs_are_read(coding: str, end: str, tmp_path: Path) -> None:
    mark = "\ufeff" if coding == "utf-16-be" else ""
    root = write_folder(tmp_path, {"Ada": 2})
    rows = mark + end.join(["File,Caption", "000.png,Zoë \u2028 sings", '001.png,"one, two"', ""])
    (root / "Ada" / "captions.csv").write_bytes(rows.encode(coding))
    shown = Folder(root)
    captions = {p.caption for s in ("train", "validation", "evaluation") for p in shown.pictures("Ada", s)}
    assert captions == {"Zoë sings", "one, two"}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("file,caption\n1.jpg,one, two\n", "line 2: 3 fields below a header of 2"),
        ('file,caption\n1.jpg,a\n2.jpg,"never closed\n', "line 3: not CSV"),
        ('file,caption\n\n1.jpg,"two\nlines"\n2.jpg,"a" b\n', "line 5: not CSV"),
        ("file,caption,Caption\n1.jpg,a,b\n", "the column caption stands there twice"),
    ],
)
def test_malformed_tables_name_the_line(text: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=found):
        read_table(tmp_path / "t.csv")


def test_rows_of_several_lines_and_blank_ones_keep_their_numbers(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('a,b\n\n1,"x\ny"\n , \n2,z\n')
    assert list(read_csv(tmp_path / "t.csv")) == [(1, ["a", "b"]), (3, ["1", "x\ny"]), (6, ["2", "z"])]


@pytest.mark.parametrize("line", ["[" * 50_000, '{"file": "a"', "7", '{"file": "a", "file": "b"}'])
def test_malformed_objects_name_the_line(line: str, tmp_path: Path) -> None:
    file, read = caption_list(tmp_path, "captions.jsonl")
    file.write_text('{"file": "000.png", "caption": "one"}\n' + line + "\n")
    with pytest.raises(DataError, match=r"captions\.jsonl', line 2: not (JSON|an object)"):
        read()


@pytest.mark.parametrize("place", ["/dev/zero", "."])
def test_what_is_no_file_is_not_read(place: str) -> None:
    with pytest.raises(DataError, match=r"data\.names_file.*is no file"):
        read_names(Path(place))


def test_halves_of_characters_do_not_reach_a_hash(tmp_path: Path) -> None:
    file, read = caption_list(tmp_path, "captions.jsonl")
    rows = [f'{{"file": "{n:03}.png", "caption": "\\ud83d {n} \\ud83d\\ude00"}}' for n in range(8)]
    file.write_text("\n".join(rows))
    captions = [p.caption for p in read()]  # type: ignore[attr-defined]
    assert all(c.encode() and c.endswith("\U0001f600") for c in captions)


def test_nul_is_found_in_any_coding() -> None:
    with pytest.raises(DataError, match="NUL byte in line 2"):
        decoded("a\nb\0".encode("utf-16"), "'x'")


def test_a_list_never_says_two_things_about_one_name(tmp_path: Path) -> None:
    root = write_celeba(tmp_path / "c", {"Ada_Quill": 3, "Bo_Diaz": 3})
    file = root / "list_identity_celeba.txt"
    file.write_text(file.read_text() + "000001.jpg Bo_Diaz\n")
    with pytest.raises(DataError, match=r"line \d+: 000001\.jpg stands there twice"):
        CelebA(root).concepts()
    imagenet = write_imagenet(tmp_path / "i", count=2)
    (imagenet / "val2").mkdir()
    folder, order = write_train(tmp_path / "k", count=2)
    write_val(folder / "val", order, flat=True)
    write_solution(folder / "LOC_val_solution.csv", order)
    table = folder / "LOC_val_solution.csv"
    table.write_text(table.read_text() + "ILSVRC2012_val_00000001,n01514859 1 2 3 4\n")
    with pytest.raises(DataError, match="another class of an image that stands above"):
        assert ImageNet(folder).present
    (tmp_path / "t.csv").write_text("fine,coarse,folder\npug,dog,a\ntabby,cat,a\n")
    with pytest.raises(DataError, match="line 3: the folder 'a' shows 'tabby' and 'pug'"):
        read_branches(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("fine,coarse,folder\npug,dog,/etc\n")
    with pytest.raises(DataError, match="line 2: the folder is outside"):
        read_branches(tmp_path / "t.csv")


def test_two_spellings_of_one_name_are_one(tmp_path: Path) -> None:
    root = write_celeba(tmp_path, {"Ada_Quill": 3, "Bo_Diaz": 2})
    file = root / "list_identity_celeba.txt"
    file.write_text(file.read_text().replace("000002.jpg Ada_Quill", "000002.jpg Ada Quill"))
    assert {n: len(f) for n, f in CelebA(root).identities.items()} == {"Ada Quill": 3, "Bo Diaz": 2}


def test_what_a_solution_says_about_nothing_is_counted(tmp_path: Path) -> None:
    root, order = write_train(tmp_path, count=2)
    write_val(root / "val", order, flat=True)
    write_solution(root / "LOC_val_solution.csv", [*order[:-1]])
    table = root / "LOC_val_solution.csv"
    table.write_text(table.read_text() + "ILSVRC2012_val_99999999,n01440764 1 2 3 4\n")
    (root / "train" / "n99999999").mkdir()
    source = ImageNet(root)
    assert source.present
    notes = "\n".join(source.tally.notes())
    assert "photographs of val without a class: 1, such as ILSVRC2012_val_00000030.JPEG" in notes
    assert "rows of val's classes without a photograph: 1, such as ILSVRC2012_val_99999999" in notes
    assert "folders that are no class, which are not read: 1, such as train/n99999999" in notes
