"""Sources of the user's own pictures: folders, captions, tar shards, and what is wrong with files."""

from __future__ import annotations

import random
import re
import struct
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from pictures import captioned, picture_bytes, write_folder, write_shard
from PIL import Image
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.folder import Folder
from razor_cli.data.sources.patterns import expand
from razor_cli.data.sources.photo import mention, same
from razor_cli.data.sources.pixels import SHORT_SIDE, decode, examine
from razor_cli.data.sources.webdataset import WebDataset
from razor_cli.errors import DataError


def everything(folder: Folder, concept: str) -> list[Picture]:
    return [p for split in SPLITS for p in folder.pictures(concept, split)]


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 100))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_whole_pictures_pass_and_cut_ones_do_not(kind: str) -> None:
    data = picture_bytes(1, kind, (200, 150))
    assert examine(data).flaw is None
    assert examine(data[: len(data) * 2 // 3]).flaw is not None


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not a JPEG"),
        (png_header(9_000, 9_000), "81000000|9000 x 9000"),
        (png_header(60_000, 60_000), "pixels"),
        (b"GIF89a" + bytes(40), "not a JPEG"),
    ],
)
def test_flaws_are_named(data: bytes, reason: str) -> None:
    assert re.search(reason, examine(data).flaw or "")


def test_large_photographs_are_upright_and_small_in_memory(tmp_path: Path) -> None:
    image = Image.fromarray(np.zeros((1200, 2400, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    image.save(tmp_path / "a.jpg", exif=exif)
    assert decode((tmp_path / "a.jpg").read_bytes()).size == (SHORT_SIDE, 2 * SHORT_SIDE)


def test_folder_merges_spellings_and_ignores_the_rest(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"Taylor_Swift": 4, "taylor swift": 3, "Tom-Cruise": 2}, 0)
    (root / "taylor swift" / "000.png").write_bytes(picture_bytes(900))
    (root / "Taylor_Swift" / ".hidden.png").write_bytes(picture_bytes(50))
    (root / "Taylor_Swift" / "notes.pdf").write_bytes(b"x")
    (root / "empty").mkdir()
    folder = Folder(root)
    assert folder.concepts() == ["Taylor Swift", "Tom-Cruise"]
    assert folder.find(["TAYLOR-SWIFT"]) == ["Taylor Swift"]
    assert len(everything(folder, "Taylor Swift")) == 7
    assert folder.tally.examined == 7 and not folder.tally.corrupt


def test_folder_splits_by_content_whatever_the_names(tmp_path: Path) -> None:
    write_folder(tmp_path / "a", {"x": 13})
    (tmp_path / "b" / "x").mkdir(parents=True)
    for n, file in enumerate(sorted((tmp_path / "a" / "x").iterdir(), reverse=True)):
        (tmp_path / "b" / "x" / f"{n:05}.png").write_bytes(file.read_bytes())
    first, second = Folder(tmp_path / "a"), Folder(tmp_path / "b")
    cuts = [[[p.key for p in f.pictures("x", s)] for s in SPLITS] for f in (first, second)]
    assert cuts[0] == cuts[1]
    assert [len(c) for c in cuts[0]] == [7, 3, 3]
    assert len({k for c in cuts[0] for k in c}) == 13


def test_folder_counts_duplicates_and_names_corrupt_files(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"x": 10})
    (root / "x" / "copy.png").write_bytes((root / "x" / "003.png").read_bytes())
    (root / "x" / "cut.png").write_bytes(picture_bytes(99)[:300])
    (root / "x" / "zero.jpg").write_bytes(b"")
    (root / "x" / "gone.webp").symlink_to(root / "x" / "nowhere.webp")
    folder = Folder(root)
    assert len(everything(folder, "x")) == 10
    assert folder.tally.duplicates == 1
    assert set(folder.tally.corrupt) == {"x/cut.png", "x/zero.jpg", "x/gone.webp"}
    with pytest.raises(DataError, match=r"(?s)data\.root: 3 of 14.*data\.max_corrupt=0\.1.*cut\.png"):
        folder.tally.check(0.1)
    folder.tally.check(0.25)


def test_folder_refuses_links_that_leave_it(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "in", {"x": 3})
    write_folder(tmp_path / "out", {"secret": 2}, 500)
    (root / "x" / "link.png").symlink_to(tmp_path / "out" / "secret" / "000.png")
    with pytest.raises(DataError, match="link out of the folder"):
        everything(Folder(root), "x")
    (root / "x" / "link.png").unlink()
    (root / "x" / "inside.png").symlink_to(root / "x" / "001.png")
    assert len(everything(Folder(root), "x")) == 3
    (root / "y").symlink_to(tmp_path / "out" / "secret")
    with pytest.raises(DataError, match="link out of the folder"):
        Folder(root)


def test_folder_reads_captions_in_three_forms(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"a": 2, "b": 1, "c": 1})
    (root / "a" / "000.txt").write_text("\ufeffA singer\non stage\n", "utf-8")
    (root / "a" / "captions.csv").write_text('file,caption\n000.png,other\n001.png,"Two, smiling"\n', "utf-8")
    (root / "b" / "captions.jsonl").write_text('{"file_name": "000.png", "text": "Beyoncé"}\n\n', "utf-8")
    folder = Folder(root)
    assert {p.caption for p in everything(folder, "a")} == {"A singer on stage", "Two, smiling"}
    assert [p.caption for p in everything(folder, "b")] == ["Beyoncé"]
    assert [p.caption for p in everything(folder, "c")] == [None]
    (root / "b" / "captions.jsonl").write_text('{"file": "000.png"}\n')
    with pytest.raises(DataError, match=r"captions\.jsonl', line 1"):
        everything(Folder(root), "b")


def test_folder_errors_name_the_setting(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.root: .* is not a folder"):
        Folder(tmp_path / "nowhere")
    (tmp_path / "a.jpg").write_bytes(picture_bytes(1, "JPEG"))
    with pytest.raises(DataError, match="beside the folders, without a concept"):
        Folder(tmp_path)


@pytest.mark.parametrize(
    ("caption", "found"),
    [
        ("TAYLOR SWIFT live", True),
        ("Taylor-Swift's tour", True),
        ("a taylor  swift fan", True),
        ("Taylor Swiftly ran", False),
        ("a tailor, swift and quick", False),
        ("Conan O’Brien laughs", True),
        ("ミステイラー・スウィフトの写真", True),
        ("BEYONCE\u0301 sings", True),
    ],
)
def test_names_in_captions_are_whole_words(caption: str, found: bool) -> None:
    pattern = mention(["Taylor Swift", "Conan O'Brien", "テイラー・スウィフト", "Beyoncé"])
    assert bool(pattern.search(same(caption))) is found


def test_keeping_out_is_stricter_than_letting_in() -> None:
    assert not mention(["Taylor Swift"]).search(same("#taylorswift"))
    assert mention(["Taylor Swift"], joined=True).search(same("#taylorswift"))


def test_webdataset_filters_by_caption(tmp_path: Path) -> None:
    write_shard(
        tmp_path / "0.tar",
        [*captioned(["Taylor Swift sings", "a dog", "A  DOG"]), {"jpg": picture_bytes(9, "JPEG")}],
    )
    samples = [
        {"png": picture_bytes(20), "json": {"caption": "taylor swift, again"}},
        {"png": picture_bytes(21), "json": {"caption": None}},
    ]
    write_shard(
        tmp_path / "sub" / "1.tar",
        [*samples, {"webp": picture_bytes(22, "WEBP"), "txt": "a #TaylorSwift cat"}],
    )
    source = WebDataset(tmp_path)
    assert [e.caption for e in source.entries] == [
        "Taylor Swift sings",
        "a dog",
        "A DOG",
        "taylor swift, again",
        "a #TaylorSwift cat",
    ]
    assert [e.caption for e in source.mentioning(["Taylor Swift"])] == [
        "Taylor Swift sings",
        "taylor swift, again",
    ]
    assert [e.caption for e in source.without(["Taylor Swift"], ["A dog"])] == []
    assert [e.caption for e in source.without(["Taylor Swift"])] == ["a dog", "A DOG"]


def test_webdataset_reads_the_right_bytes(tmp_path: Path) -> None:
    source = WebDataset(
        write_shard(tmp_path / "0.tar", captioned([f"picture {i}" for i in range(9)], start=40))
    )
    drawn = source.draw(source.entries, 9, random.Random(0), concept=None, seen=set())
    assert len({p.key for p in drawn}) == 9
    for picture in drawn:
        number = int((picture.caption or "").split()[1])
        expected = decode(picture_bytes(40 + number, "JPEG"))
        assert np.array_equal(np.asarray(source.load([picture])[0]), np.asarray(expected))


def test_webdataset_leaves_out_repeats_corrupt_members_and_links(tmp_path: Path) -> None:
    data = picture_bytes(1, "JPEG")
    samples = [
        {"jpg": data, "txt": "one"},
        {"jpg": data, "txt": "two"},
        {"jpg": data[:300], "txt": "cut"},
        {"jpg": b"", "txt": "no"},
    ]
    path = write_shard(tmp_path / "0.tar", samples)
    with tarfile.open(path, "a") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret.jpg"
        tar.addfile(link)
    source = WebDataset(path)
    drawn = source.draw(source.entries, 10, random.Random(0), concept="x", seen=set())
    assert len(drawn) == 1 and source.tally.duplicates == 1
    assert set(source.tally.corrupt) == {"0.tar:000002", "0.tar:000003"}


def test_webdataset_cut_shard_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    path = write_shard(tmp_path / "0.tar", captioned([f"picture {i}" for i in range(20)]))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    source = WebDataset(tmp_path)
    assert 5 < len(source.entries) < 15
    assert "damaged tar file" in source.tally.corrupt["0.tar"]
    drawn = source.draw(source.entries, 99, random.Random(0), concept=None, seen=set())
    assert len(drawn) == len(source.entries)


def test_webdataset_errors(tmp_path: Path) -> None:
    source = WebDataset(write_shard(tmp_path / "a" / "0.tar", captioned(["Tailor Swift sings", "a dog"])))
    with pytest.raises(
        DataError, match=r"(?s)'Taylor Swift'.*nearest words in captions: tailor swift.*data\.aliases"
    ):
        source.mentioning(["Taylor Swift"])
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "0.tar.gz").write_bytes(b"x")
    with pytest.raises(DataError, match=r"0\.tar\.gz"):
        WebDataset(tmp_path / "b")
    (tmp_path / "c.tar").write_bytes(b"this is no tar file")
    with pytest.raises(DataError, match="damaged tar file"):
        assert WebDataset(tmp_path / "c.tar").entries


def test_shard_patterns_expand(tmp_path: Path) -> None:
    assert expand("d/{08..11}.tar") == ["d/08.tar", "d/09.tar", "d/10.tar", "d/11.tar"]
    for n in range(3):
        write_shard(tmp_path / f"0{n}.tar", captioned([f"x {n}"]))
    assert [e.caption for e in WebDataset(tmp_path / "{00..01}.tar").entries] == ["x 0", "x 1"]
    assert len(WebDataset(tmp_path / "*.tar").entries) == 3


def test_inspect_counts_and_plans(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"Ada": 16, "Bo [x]": 30})
    (root / "Ada" / "bad.jpg").write_bytes(b"no")
    seen = CliRunner().invoke(app, ["inspect", "--root", str(root)])
    assert seen.exit_code == 0
    assert "bad.jpg" in seen.output and "Bo [x]" in seen.output and "16" in seen.output
    plan = CliRunner().invoke(app, ["inspect", "--root", str(root), "--target", "Adda"])
    assert isinstance(plan.exception, DataError) and "Ada" in str(plan.exception)
