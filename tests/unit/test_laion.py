"""LAION as img2dataset leaves it: folders and tar shards with parquet, keywords, status, caps,
and refusals.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asks import sets_from
from benchmark_files import FEW, write_files_shard, write_tar_shard
from pictures import captioned, picture_bytes, write_folder, write_shard
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.data.disjoint import six_sets
from razor_cli.data.kinds.own import Laion as LaionData
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.laion import Laion
from razor_cli.data.sources.pixels import decode
from razor_cli.errors import DataError

SMALL = replace(FEW, suite=10)
STAR = [f"Ada Quill on stage {i}" for i in range(30)]
REST: list[str | None] = [f"a dog in park {i}" for i in range(90)]


def sets_of(root: Path, target: str = "Ada Quill", **changes: object) -> ConceptSets:
    settings: dict[str, object] = {"root": root, "sizes": SMALL}
    return sets_from(LaionData, target, **(settings | changes))  # type: ignore[arg-type]


def two_layouts(root: Path) -> Path:
    """Write a folder shard and a tar shard, each with parquet and with rows that were not fetched."""
    write_files_shard(root, "00000", [*STAR[:15], None, None, None, *REST[:45]])
    write_tar_shard(root, "00001", [*STAR[15:], *REST[45:], None], start=5000)
    return root


def test_both_layouts_are_read_and_unfetched_rows_counted(tmp_path: Path) -> None:
    source = Laion(two_layouts(tmp_path))
    assert source.counts() == {"00000": 60, "00001.tar": 60}
    assert len(source.mentioning(["ada quill"])) == 30
    assert dict(source.tally.skipped) == {"failed_to_download": 2, "failed_to_resize": 2}
    assert any(
        "4 rows of the metadata skipped: 2 failed_to_download, 2 failed_to_resize" in n
        for n in source.tally.notes()
    )


def test_each_picture_has_its_own_caption(tmp_path: Path) -> None:
    source = Laion(two_layouts(tmp_path))
    for captions, number, start in (
        (STAR[3], 3, 0),
        (REST[44], 62, 0),
        (STAR[17], 2, 5000),
        (REST[89], 59, 5000),
    ):
        (entry,) = [e for e in source.entries if e.caption == captions]
        assert source._read(entry) == picture_bytes(start + number, "JPEG")


def test_captions_come_from_txt_then_json_then_parquet(tmp_path: Path) -> None:
    write_files_shard(tmp_path, "00000", ["one", "two", "three"])
    (tmp_path / "00000" / "000000000.txt").write_text("\ufeffone as text\n")
    (tmp_path / "00000" / "000000001.txt").unlink()
    (tmp_path / "00000" / "000000001.json").write_text('{"caption": "two as json"}')
    for ending in ("txt", "json"):
        (tmp_path / "00000" / f"000000002.{ending}").unlink()
    assert [e.caption for e in Laion(tmp_path).entries] == ["one as text", "two as json", "three"]


def test_a_picture_whose_row_failed_is_no_sample(tmp_path: Path) -> None:
    write_files_shard(tmp_path, "00000", [*STAR[:3], *REST[:3]])
    rows = pq.read_table(tmp_path / "00000.parquet").to_pylist()
    rows[1]["status"] = "failed_to_download"
    rows.append({**rows[0], "key": "000000777"})
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "00000.parquet")
    source = Laion(tmp_path)
    assert [e.caption for e in source.entries] == [STAR[0], STAR[2], *REST[:3]]
    assert source.tally.skipped == {
        "failed_to_download": 1,
        "fetched, but the picture is not in the shard": 1,
    }


def test_one_folder_may_be_the_shard_itself(tmp_path: Path) -> None:
    write_files_shard(tmp_path, "00000", STAR[:3], parquet=False)
    assert [e.caption for e in Laion(tmp_path / "00000").entries] == STAR[:3]
    assert Laion.holds(tmp_path / "00000") and Laion.holds(tmp_path) and not Laion.holds(tmp_path / "nowhere")


def test_sets_are_disjoint_and_no_retain_caption_names_the_target(tmp_path: Path) -> None:
    root = two_layouts(tmp_path)
    write_files_shard(root, "00002", [f"#adaquill fan art {i}" for i in range(9)], start=9000)
    sets = sets_of(root)
    pixels = {name: {i.tobytes() for i in p.load()} for name, p in six_sets(sets).items()}
    for (first, a), (second, b) in combinations(pixels.items(), 2):
        assert not a & b, (first, second)
    assert all(
        c.startswith("Ada Quill on stage") for c in (*sets.forget.captions, *sets.evaluation.forget.captions)
    )
    kept = {c for p in (sets.retain, sets.validation.retain, sets.evaluation.retain) for c in p.captions}
    assert kept <= set(REST) and set(sets.retain.captions).isdisjoint(sets.forget.captions)
    assert {i.tobytes() for i in sets.forget.load()} <= {
        decode(picture_bytes(n, "JPEG")).tobytes() for n in [*range(15), *range(5000, 5015)]
    }


def test_caps_are_honoured_and_noted_and_little_is_held_out(tmp_path: Path) -> None:
    sets = sets_of(two_layouts(tmp_path))
    assert [len(p) for p in six_sets(sets).values()] == [10, 40, 4, 10, 6, 20]
    notes = "\n".join(sets.notes)
    assert "forget: 10 of 17 pairs drawn, data.n_forget=10" in notes
    assert "retain: 40 of 55 pairs drawn, data.n_retain=40" in notes  # halves of 90 would leave 45
    assert "30 of 120 captions hold Ada Quill" in notes
    more = sets_of(two_layouts(tmp_path / "again"), sizes=Sizes(forget=4000, retain=7900))
    assert any("data.n_forget=4000 asked for" in n for n in more.notes) and not any(
        "drawn, data.n_forget" in n for n in more.notes
    )


def test_keyword_replaces_the_target_and_a_typo_names_near_words(tmp_path: Path) -> None:
    root = two_layouts(tmp_path)
    sets = sets_of(root, "The Singer", keyword="ada quill")
    assert sets.target == "The Singer" and all("Ada Quill" in c for c in sets.forget.captions)
    with pytest.raises(
        DataError, match=r"(?s)none of 120 captions.*'Ada Quil'.*nearest words in captions: ada quill"
    ):
        sets_of(root, "Ada Quil")


def test_retain_root_may_be_a_shard_of_either_layout_or_a_folder_per_concept(tmp_path: Path) -> None:
    root = two_layouts(tmp_path / "d")
    write_files_shard(tmp_path / "r", "00009", [f"a cat {i}" for i in range(60)], start=20_000)
    assert all(c.startswith("a cat") for c in sets_of(root, retain_root=tmp_path / "r").retain.captions)
    write_folder(tmp_path / "f", {"car": 40, "boat": 40}, 30_000)
    assert set(sets_of(root, retain_root=tmp_path / "f").retain.concepts) == {"car", "boat"}


def test_damaged_pictures_and_metadata_are_counted_and_named(tmp_path: Path) -> None:
    root = two_layouts(tmp_path)
    (root / "00000" / "000000002.jpg").write_bytes(b"")
    (root / "00001.parquet").write_bytes(b"PAR1 and nothing")
    sets = sets_of(
        root, sizes=Sizes(forget=99, validation_forget=99, evaluation_forget=99, retain=50), max_corrupt=0.2
    )
    notes = "\n".join(sets.notes)
    assert "00000:000000002.jpg (empty file)" in notes and "00001.parquet (damaged metadata" in notes
    with pytest.raises(DataError, match=r"(?s)data\.root.*corrupt.*data\.max_corrupt=0"):
        sets_of(two_layouts(tmp_path / "b").parent, sizes=Sizes(forget=99), max_corrupt=0)


def test_metadata_alone_and_foreign_metadata_are_refused(tmp_path: Path) -> None:
    table = pa.table({"URL": ["http://example.org/1.jpg"], "TEXT": ["Ada Quill"]})
    (tmp_path / "a").mkdir()
    pq.write_table(table, tmp_path / "a" / "part-00000.parquet")
    with pytest.raises(
        DataError, match=r"(?s)no LAION shard.*metadata alone: part-00000\.parquet.*img2dataset"
    ):
        sets_of(tmp_path / "a")
    write_shard(tmp_path / "b" / "00000.tar", captioned(["Ada Quill"]))
    pq.write_table(table, tmp_path / "b" / "00000.parquet")
    with pytest.raises(DataError, match=r"(?s)00000\.parquet' has no column key.*found: URL, TEXT"):
        sets_of(tmp_path / "b")


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    write_files_shard(tmp_path / "out", "00000", STAR[:3])
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "00000").symlink_to(tmp_path / "out" / "00000")
    with pytest.raises(DataError, match="link out of the folder"):
        Laion(tmp_path / "in")


def test_check_command_counts_pairs_and_matches(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["check", "laion", "--root", str(two_layouts(tmp_path)), "--target", "ada quill"]
    )
    assert result.exit_code == 0
    assert (
        "2 shards, 120 captioned pictures" in result.output
        and "30 captions hold 'ada quill'" in result.output
    )
    assert "4 rows of the metadata skipped" in result.output
