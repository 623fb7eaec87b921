"""Members of tar shards: which belong together, what is left out, and headers that lie."""

from __future__ import annotations

import io
import tarfile
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from benchmark_files import write_tar_shard
from pictures import captioned, picture_bytes, write_shard
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.data.ask import Ask
from razor_cli.data.kinds import own
from razor_cli.data.sources import laion, patterns
from razor_cli.data.sources.laion import Laion
from razor_cli.data.sources.pixels import decode
from razor_cli.data.sources.webdataset import WebDataset
from razor_cli.errors import DataError

Members = list[tuple[str, bytes]]


def pack(path: Path, members: Members) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def jpg(seed: int) -> bytes:
    return picture_bytes(seed, "JPEG")


def pair(name: str, seed: int) -> Members:
    return [(f"{name}.jpg", jpg(seed)), (f"{name}.txt", f"picture {seed}".encode())]


def read(path: Path) -> tuple[list[str], list[str]]:
    """Return the captions, each checked against the bytes of its picture, and the notes."""
    source = WebDataset(path)
    for entry in source.entries:
        assert source._read(entry) == jpg(int(entry.caption.split()[1])), entry
    return [e.caption for e in source.entries], source.tally.notes()


def test_the_whole_name_before_the_ending_is_the_sample(tmp_path: Path) -> None:
    members = [m for i in range(4) for m in pair(f"IMG_2021.05.{i:02}", i)]
    assert read(pack(tmp_path / "0.tar", members)) == ([f"picture {i}" for i in range(4)], [])


def test_members_of_one_sample_may_stand_apart(tmp_path: Path) -> None:
    members = [m for i in range(4) for m in pair(f"d/{i}", i)]
    apart = [*members[::2], *members[1::2]]
    assert read(pack(tmp_path / "0.tar", apart)) == ([f"picture {i}" for i in range(4)], [])


def test_two_complete_samples_of_one_name_are_two(tmp_path: Path) -> None:
    members = [m for i in range(6) for m in pair(f"{i % 3}", i)]
    captions, notes = read(pack(tmp_path / "0.tar", members))
    assert sorted(captions) == [f"picture {i}" for i in range(6)]
    assert notes == [
        "data.root: samples that share their name, kept apart by their order: 6, such as 0.tar:0"
    ]


@pytest.mark.parametrize("second_first", [True, False])
def test_a_picture_never_gets_the_caption_of_another_album(second_first: bool, tmp_path: Path) -> None:
    album = [m for i in range(3) for m in pair(f"{i}", i)]
    bare = [(f"{i}.jpg", jpg(100 + i)) for i in range(3)]
    path = pack(tmp_path / "0.tar", [*bare, *album] if second_first else [*album, *bare])
    captions, notes = read(path)
    assert captions == [f"picture {i}" for i in range(3)]
    assert "data.root: pictures without a caption: 3, such as 0.tar:0" in notes


@pytest.mark.parametrize(
    "order", ["jpg jpg txt", "jpg txt txt", "jpg txt jpg", "txt jpg txt"], ids=lambda o: o.replace(" ", "-")
)
def test_samples_that_cannot_be_told_apart_are_left_out(order: str, tmp_path: Path) -> None:
    members = [(f"0.{e}", jpg(n) if e == "jpg" else b"picture 0") for n, e in enumerate(order.split())]
    captions, notes = read(pack(tmp_path / "0.tar", [*members, *pair("1", 1)]))
    assert captions == ["picture 1"]
    assert notes == ["data.root: samples of one name that cannot be told apart, left out: 1, such as 0.tar:0"]


def test_scattered_albums_of_one_name_give_no_pair(tmp_path: Path) -> None:
    album = [m for i in range(2) for m in pair(f"{i}", i)]
    members = [*album[::2], *album[1::2], *[(f"{i}.jpg", jpg(100 + i)) for i in range(2)]]
    with pytest.raises(DataError, match=r"no captioned picture.*(?s:.*)pictures without a caption: 4"):
        read(pack(tmp_path / "0.tar", members))


def test_what_is_no_captioned_picture_is_counted(tmp_path: Path) -> None:
    members = [
        *pair("a", 1),
        ("._a.jpg", b"resource fork"),
        ("b.jpg", jpg(2)),
        ("c.txt", b"picture 3"),
        ("d.jpg", jpg(4)),
        ("d.txt", "Zoë".encode("cp1252")),
        ("e.heic", b"x"),
        ("f.jpg", jpg(5)),
        ("f.json", b"[" * 50_000),
        ("g.jpg", jpg(6)),
        ("g.png", picture_bytes(7)),
        ("g.txt", b"picture 6"),
        ("h.txt", b"x" * 100_001),
    ]
    captions, notes = read(pack(tmp_path / "0.tar", members))
    assert captions == ["picture 1", "picture 6"]
    assert set(notes) == {
        "data.root: pictures without a caption: 3, such as 0.tar:b",
        "data.root: captions without a picture: 1, such as 0.tar:c",
        "data.root: captions that cannot be read: 2, such as 0.tar:d.txt",
        "data.root: .heic members, which are not read: 1, such as 0.tar:e.heic",
        "data.root: further pictures of a sample, of which the first is used: 1, such as 0.tar:g",
        "data.root: members of more than 100,000 bytes, which are not read: 1, such as 0.tar:h.txt",
    }


def test_shards_that_a_pattern_counts_and_that_are_missing_are_said(tmp_path: Path) -> None:
    captions = [f"Ada Quill {i}" if i % 2 else f"a dog {i}" for i in range(80)]
    write_shard(tmp_path / "00000.tar", captioned(captions))
    (tmp_path / "9.tar.gz").write_bytes(b"x")
    note = "data.root: shards of the pattern that are not there: 2, such as 00001.tar, 00002.tar"
    root = tmp_path / "{00002..00000}.tar"
    assert note in own.WebDataset(root=root).sets(Ask(target="Ada Quill")).notes
    assert note in CliRunner().invoke(app, ["inspect", "--root", str(root)]).output.splitlines()
    assert WebDataset(tmp_path / "*.tar").tally.notes() == []
    packed = "data.root: compressed shards, which are not read: 1, such as 9.tar.gz"
    assert WebDataset(tmp_path).tally.notes() == [packed]
    with pytest.raises(DataError, match=f"more than {patterns.MAX_SHARDS:,} files"):
        WebDataset(tmp_path / "{0..99999}{0..99999}.tar")


def header(**fields: object) -> bytes:
    info = tarfile.TarInfo("x")
    for name, value in fields.items():
        setattr(info, name, value)
    return info.tobuf(tarfile.GNU_FORMAT)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_claims_gigabytes_is_named_and_not_read(kind: bytes, tmp_path: Path) -> None:
    first = pack(tmp_path / "0.tar", pair("a", 1)).read_bytes().rstrip(b"\0")
    first += b"\0" * (-len(first) % 512)
    with (tmp_path / "0.tar").open("wb") as stream:  # sparse: the bytes are there and take no space
        stream.write(first + header(type=kind, size=3_000_000_000))
        stream.truncate(3_100_000_000)
    tracemalloc.start()
    captions, notes = read(tmp_path / "0.tar")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()
    assert captions == ["picture 1"]
    assert "0.tar (damaged tar file after 1 samples (an extended header of 3,000,000,000 bytes))" in notes[0]


@pytest.mark.parametrize("size", [-1024, 2**62, 2**80])
def test_a_member_of_absurd_size_ends_the_shard(size: int, tmp_path: Path) -> None:
    first = pack(tmp_path / "0.tar", pair("a", 1)).read_bytes().rstrip(b"\0")
    first += b"\0" * (-len(first) % 512)
    (tmp_path / "0.tar").write_bytes(first + header(size=size, name="b.jpg") + b"\0" * 2048)
    captions, notes = read(tmp_path / "0.tar")
    assert captions == ["picture 1"]
    assert "damaged tar file" in "".join(notes) or "members of more than" in "".join(notes)


def test_metadata_of_one_key_goes_to_one_picture(tmp_path: Path) -> None:
    pack(
        tmp_path / "00000.tar",
        [("a/0.jpg", jpg(0)), ("b/0.jpg", jpg(1)), ("2.x.jpg", jpg(2)), ("3.jpg", jpg(3))],
    )
    rows = [
        {"key": key, "caption": caption, "status": "success"}
        for key, caption in (("0", "whose?"), ("2.x", "picture 2"), ("3", "picture 3"), ("3", "another"))
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "00000.parquet")
    source = Laion(tmp_path)
    assert [e.caption for e in source.entries] == ["picture 2"]
    assert np.array_equal(np.asarray(decode(source._read(source.entries[0]))), np.asarray(decode(jpg(2))))
    notes = source.tally.notes()
    assert (
        "data.root: keys of the metadata that stand there twice and differ, which are not read: 1, such as "
        "00000.parquet: 3" in notes
    )
    assert any("pictures without a caption: 3" in n for n in notes)


def test_metadata_is_refused_by_its_size_before_a_row_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tar_shard(tmp_path, "00000", [f"a dog {i}" for i in range(5)])
    monkeypatch.setattr(laion, "MAX_ROWS", 4)
    with pytest.raises(DataError, match=r"(?s)00000\.parquet' is too large.*at most 4.*5 rows"):
        assert Laion(tmp_path).entries
