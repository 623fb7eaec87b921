"""Question sets are the same whichever published layout they are read from, and bad files are told apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import question_files as files

from razor_cli.errors import DataError
from razor_cli.families.llava.benchmarks.items import QuestionSet
from razor_cli.families.llava.benchmarks.readers_gqa import read_gqa
from razor_cli.families.llava.benchmarks.readers_mmbench import read_mmbench
from razor_cli.families.llava.benchmarks.readers_mme import read_mme

KEY = "metrics.root"


def told(found: QuestionSet) -> set[tuple[str, ...]]:
    return {(i.question, i.answer, i.category) for i in found.items}


def pixels(found: QuestionSet, question: str) -> np.ndarray:
    item = next(i for i in found.items if i.question.startswith(question))
    return np.asarray(found.album.load([item.picture])[0])


@pytest.mark.parametrize("write", [files.mme_parquet, files.mme_tsv, files.mme_release, files.mme_lists])
def test_mme_reads_alike_from_every_layout(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    found = read_mme(write(tmp_path), KEY)
    assert told(found) == {(q + files.ENDING, a.lower(), t) for _, q, a, t in files.MME_ROWS}
    assert len({i.group for i in found.items}) == 3
    assert len({i.key for i in found.items}) == len(files.MME_ROWS)
    shown = pixels(found, "Is there a bus?")
    assert (shown == pixels(found, "Is there a tree?")).all()
    assert (shown != pixels(found, "Is there a cat?")).any()


def test_a_picture_without_exactly_two_questions_is_refused(tmp_path: Path) -> None:
    root = files.mme_release(tmp_path)
    with (root / "existence" / "2.txt").open("a") as stream:
        stream.write("Is there a hat?\tNo\n")
    with pytest.raises(DataError, match="exactly two questions") as refused:
        read_mme(root, KEY)
    assert "existence/2.png (3)" in str(refused.value)


def test_gqa_reads_alike_from_every_layout(tmp_path: Path) -> None:
    asked = {(q, a) for _, _, q, a, _ in files.GQA_ROWS}
    for name, write in (("pair", files.gqa_parquet), ("tsv", files.gqa_tsv), ("json", files.gqa_json)):
        (tmp_path / name).mkdir()
        found = read_gqa(write(tmp_path / name), KEY)
        assert {(i.question, i.answer) for i in found.items} == asked
        assert found.album.load([found.items[0].picture])[0].size == (32, 32)
        assert [i.category for i in found.items] == (["", ""] if name == "tsv" else ["query", "verify"])


def test_gqa_names_a_picture_that_is_not_there(tmp_path: Path) -> None:
    root = files.gqa_json(tmp_path)
    (root / "images" / "p1.jpg").unlink()
    with pytest.raises(DataError, match="question q1: no picture 'p1'"):
        read_gqa(root, KEY)


def test_rotations_are_made_where_the_file_holds_none(tmp_path: Path) -> None:
    rows = [
        files.mmbench_row(7, files.coded("7"), ["cat", "dog", "owl"], "B", hint="Look."),
        files.mmbench_row(8, "7", ["red", "blue"], "A"),  # shows the picture of row 7
    ]
    found = read_mmbench(files.write_tsv(tmp_path / "dev.tsv", rows), KEY)
    assert [i.key for i in found.items] == ["7", "1000007", "2000007", "8", "1000008"]
    assert [dict(i.options)[i.answer] for i in found.items] == ["dog"] * 3 + ["red"] * 2
    assert sorted(i.answer for i in found.items[:3]) == ["A", "B", "C"]
    assert [i.hint for i in found.items[2:4]] == ["Look.", ""]
    assert {i.picture for i in found.items} == {"7"}
    assert "made here" in found.notes[0]


@pytest.mark.parametrize("absent", [None, float("nan"), "", "nan"])
def test_absent_options_are_told_apart(tmp_path: Path, absent: object) -> None:
    row = files.mmbench_row(1, files.held("1"), ["cat", "dog", "owl"], "A", hint="x")
    named = {"L2-category" if k == "l2-category" else k: v for k, v in row.items()}
    found = read_mmbench(
        files.write_parquet(tmp_path / "dev-0.parquet", [{**named, "D": absent}]).parent, KEY
    )
    assert [letter for letter, _ in found.items[0].options] == ["A", "B", "C"]
    assert found.items[0].level == "finegrained_perception"


def test_rotations_of_the_file_are_taken_as_they_are(tmp_path: Path) -> None:
    rows = [
        files.mmbench_row(3, files.coded("3"), ["cat", "dog"], "A"),
        files.mmbench_row(1_000_003, "3", ["dog", "cat"], "B"),
    ]
    found = read_mmbench(files.write_tsv(tmp_path / "dev.tsv", rows), KEY)
    assert [(i.key, i.answer, i.group) for i in found.items] == [("3", "A", "3"), ("1000003", "B", "3")]
    with pytest.raises(DataError, match="without the question that they rotate"):
        read_mmbench(files.write_tsv(tmp_path / "dev.tsv", [{**rows[1], "image": files.coded("3")}]), KEY)


def bad_mme(tmp_path: Path, **changed: object) -> Path:
    row: dict[str, object] = {
        "index": 0,
        "image": files.coded("0"),
        "image_path": "0.png",
        "question": "Is it?",
        "answer": "Yes",
        "category": "count",
    }
    return files.write_tsv(tmp_path / "bad.tsv", [{**row, **changed}, {**row, **changed, "index": 1}])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"category": "existense"}, "did you mean existence"),
        ({"answer": "maybe"}, "neither yes nor no"),
        ({"image": "9"}, "no picture"),
        ({"question": ""}, "row 1: nothing in the column question"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, changed: dict[str, object], said: str) -> None:
    with pytest.raises(DataError, match=said) as refused:
        read_mme(bad_mme(tmp_path, **changed), KEY)
    assert str(refused.value).startswith(KEY)


def test_bad_pictures_are_named_when_they_are_read(tmp_path: Path) -> None:
    found = read_mme(bad_mme(tmp_path, image="QUJD" * 20), KEY)
    with pytest.raises(DataError, match="row 1: the picture cannot be used"):
        found.album.load([found.items[0].picture])


def test_bad_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no"):
        read_gqa(tmp_path / "nothing", KEY)
    with pytest.raises(DataError, match="nothing of MME"):
        read_mme(tmp_path, KEY)
    with pytest.raises(DataError, match="no column image_path"):
        read_mme(files.write_tsv(tmp_path / "other.tsv", [{"index": 1, "image": files.coded("1")}]), KEY)
    (tmp_path / "test-00000-of-00002.parquet").write_bytes(b"version https://git-lfs")
    with pytest.raises(DataError, match="1 parquet files are not there"):
        read_mme(tmp_path, KEY)
    (tmp_path / "test-00001-of-00002.parquet").write_bytes(b"version https://git-lfs")
    with pytest.raises(DataError, match="cannot be read as parquet") as refused:
        read_mme(tmp_path, KEY)
    assert "Git LFS" in str(refused.value)
    (tmp_path / "ragged.tsv").write_text("index\timage\n1\n")
    with pytest.raises(DataError, match="no table with tabs"):
        read_mme(tmp_path / "ragged.tsv", KEY)
