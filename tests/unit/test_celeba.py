"""CelebA-100 and names to choose among: the list's formats, ranking, suites, judging on CelebA, lists of
names.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from asks import sets_from
from benchmark_files import FEW, write_celeba, write_files_shard, write_imagenet
from pictures import picture_bytes, write_folder
from typer.testing import CliRunner

from razor_cli.commands.data import app
from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.data.choices import Names, Templates
from razor_cli.data.kinds.own import Folder, Laion
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.celeba import CelebA, read_names
from razor_cli.data.sources.pixels import decode
from razor_cli.errors import ConfigError, DataError

COUNTS = {"Ada_Quill": 6, "Bo_Diaz": 5, "Cy_Van_Dam": 4, "Di_O'Neil": 1}
SMALL = replace(FEW, suite=12)


def sets_of(
    root: Path,
    celeba: Path,
    target: str = "Ada Quill",
    extra: dict[str, object] | None = None,
    **more: object,
) -> ConceptSets:
    settings: dict[str, object] = {"kind": Folder, "root": root, "celeba_root": celeba, "sizes": SMALL}
    return sets_from(target=target, **(settings | (extra or {}) | more))  # type: ignore[arg-type]


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "people", {"Ada Quill": 24, "Someone Else": 60})


@pytest.mark.parametrize("header", [True, False])
def test_list_is_read_with_and_without_its_header(header: bool, tmp_path: Path) -> None:
    celeba = CelebA(write_celeba(tmp_path, COUNTS, header=header))
    assert celeba.concepts() == ["Ada Quill", "Bo Diaz", "Cy Van Dam", "Di O'Neil"]
    assert {n: len(f) for n, f in celeba.identities.items()} == {
        n.replace("_", " "): c for n, c in COUNTS.items()
    }
    pictures = celeba.pictures("Di O'Neil", "evaluation")
    assert [i.tobytes() for i in celeba.load(pictures)] == [decode(picture_bytes(70_004, "JPEG")).tobytes()]
    assert celeba.pictures("Ada Quill", "train") == []


def test_numbered_identities_need_names(tmp_path: Path) -> None:
    root = write_celeba(tmp_path, {"2880": 3, "17": 2})
    with pytest.raises(DataError, match=r"(?s)numbers its identities.*identity_names\.txt"):
        CelebA(root).concepts()
    (root / "list_identity_celeba.txt").rename(root / "identity_CelebA.txt")
    (root / "identity_names.txt").write_text("2880 Ada_Quill\n17,Bo Diaz\n")
    assert {n: len(f) for n, f in CelebA(root).identities.items()} == {"Ada Quill": 3, "Bo Diaz": 2}


def test_most_frequent_are_those_of_the_ranking_else_those_with_most_pictures(tmp_path: Path) -> None:
    root = write_celeba(tmp_path, COUNTS | {f"P_{i:03}": 2 for i in range(120)})
    by_pictures = CelebA(root).frequent()
    assert by_pictures[:4] == ["Ada Quill", "Bo Diaz", "Cy Van Dam", "P 000"] and len(by_pictures) == 100
    without = CelebA(root).frequent(["ada-quill"])
    assert "Ada Quill" not in without and len(without) == 100
    (root / "frequent_celebs.txt").write_text("Nobody_Here\nP_119\nAda_Quill\nP_119\n")
    assert CelebA(root).frequent() == ["P 119", "Ada Quill"]


def test_suite_is_celeba_100_over_all_names_without_the_target(tmp_path: Path, people: Path) -> None:
    celeba = write_celeba(tmp_path / "c", COUNTS | {f"P_{i:03}": 2 for i in range(120)})
    sets = sets_of(people, celeba, sizes=Sizes(suite=150))
    suite = next(s for s in sets.suites if s.name == "celeba")
    assert len(suite.class_names) == 123 and "Ada Quill" not in suite.class_names
    assert suite.prompts[suite.class_names.index("Cy Van Dam")] == "Cy Van Dam."
    assert [suite.class_names[n] for n in suite.labels] == list(suite.pairs.concepts)
    counts = Counter(suite.pairs.concepts)
    assert len(counts) == 100 and set(counts.values()) <= {1, 2} and len(suite.pairs) == 150
    few = sets_of(people, celeba, extra={"celeba_names": Names.FREQUENT})
    assert len(next(s for s in few.suites if s.name == "celeba").class_names) == 100


def test_names_join_the_label_space_with_the_target_among_them_once(tmp_path: Path, people: Path) -> None:
    celeba = write_celeba(tmp_path / "c", COUNTS)
    sets = sets_of(people, celeba, class_names=("bo diaz", "Zed Zo"))
    assert sets.class_names[0] == "Ada Quill"
    assert sorted(map(str.lower, sets.class_names[1:])) == [
        "bo diaz",
        "cy van dam",
        "di o'neil",
        "someone else",
        "zed zo",
    ]
    assert sets.prompts["Cy Van Dam"] == "a photo of Cy Van Dam."


def test_target_is_judged_on_celeba_only_when_asked(tmp_path: Path, people: Path) -> None:
    celeba = write_celeba(tmp_path / "c", COUNTS)
    own = sets_of(people, celeba)
    assert all(k.startswith("folder/") for k in own.evaluation.forget.keys)
    sets = sets_of(people, celeba, extra={"judge_on_celeba": True})
    shown = {i.tobytes() for i in sets.evaluation.forget.load()}
    lines = (celeba / "list_identity_celeba.txt").read_text().splitlines()[2:]
    mine = [int(line[:6]) for line in lines if line.endswith("Ada_Quill")]
    assert shown == {decode(picture_bytes(70_000 + n, "JPEG")).tobytes() for n in mine}
    assert set(sets.evaluation.forget.concepts) == {"Ada Quill"}
    assert sets.forget == own.forget or sets.forget.keys == own.forget.keys
    with pytest.raises(DataError, match=r"(?s)judge_on_celeba.*'Someone Else' is not among.*4 names"):
        sets_of(people, celeba, "Someone Else", extra={"judge_on_celeba": True})


def test_missing_and_damaged_photographs_are_counted_and_named(tmp_path: Path, people: Path) -> None:
    celeba = write_celeba(tmp_path / "c", COUNTS)
    (celeba / "img_align_celeba" / "000002.jpg").unlink()
    (celeba / "img_align_celeba" / "000003.jpg").write_bytes(b"x")
    sets = sets_of(people, celeba, max_corrupt=0.5)
    assert any("data.celeba_root: 2 of" in n and "000002.jpg" in n and "000003.jpg" in n for n in sets.notes)
    with pytest.raises(DataError, match=r"data\.celeba_root: 2 of 10 pictures are corrupt"):
        sets_of(people, celeba, max_corrupt=0.05)


def test_what_is_missing_is_named(tmp_path: Path, people: Path) -> None:
    (tmp_path / "c").mkdir()
    with pytest.raises(
        DataError, match=r"(?s)data\.celeba_root: no list.*list_identity_celeba\.txt.*an empty folder"
    ):
        sets_of(people, tmp_path / "c")
    (tmp_path / "c" / "list_identity_celeba.txt").write_text("000001.jpg Ada_Quill\n000002.jpg\n")
    with pytest.raises(DataError, match=r"list_identity_celeba\.txt', line 2"):
        sets_of(people, tmp_path / "c")
    (tmp_path / "c" / "list_identity_celeba.txt").write_text("000001.jpg Ada_Quill\n000002.jpg Bo_Diaz\n")
    with pytest.raises(DataError, match=r"(?s)no photographs under.*img_align_celeba"):
        sets_of(people, tmp_path / "c")
    (tmp_path / "c" / "list_identity_celeba.txt").write_text("../000001.jpg Ada_Quill\n")
    with pytest.raises(DataError, match="line 1"):
        sets_of(people, tmp_path / "c")


def test_utilities_go_with_laion_and_imagenet_counts_among_them(tmp_path: Path) -> None:
    write_files_shard(
        tmp_path / "d", "00000", [*[f"Ada Quill {i}" for i in range(20)], *[f"a tree {i}" for i in range(60)]]
    )
    extra = {"imagenet_root": write_imagenet(tmp_path / "i", count=1, val=3), "templates": Templates.ONE}
    sets = sets_of(tmp_path / "d", write_celeba(tmp_path / "c", COUNTS), extra=extra, kind=Laion)
    assert [s.name for s in sets.suites] == ["celeba", "imagenet"]
    assert sets.suites[1].class_names[0] == "tench" and len(sets.suites[1].pairs) == 12
    assert set(sets.class_names) == {"Ada Quill", "Bo Diaz", "Cy Van Dam", "Di O'Neil"}


def test_list_of_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text(
        "\ufeffTaylor_Swift\n\n# a remark\nLady Gaga\ntaylor swift\n", "utf-8"
    )
    assert read_names(tmp_path / "names.txt") == ("Taylor Swift", "Lady Gaga")
    (tmp_path / "names.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"(?s)data\.names_file.*is not UTF-16 text.*save it as UTF-8"):
        read_names(tmp_path / "names.txt")
    (tmp_path / "names.txt").write_text("\n")
    with pytest.raises(DataError, match="holds no name"):
        read_names(tmp_path / "names.txt")


def test_check_command_counts_names_and_missing_photographs(tmp_path: Path) -> None:
    root = write_celeba(tmp_path, COUNTS)
    (root / "img_align_celeba" / "000001.jpg").unlink()
    result = CliRunner().invoke(app, ["check", "celeba", "--root", str(root)])
    assert result.exit_code == 0 and "4 names, 16 photographs listed, 1 of them missing" in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["data=standin", "data.celeba_root={}"],
            r"(?s)data\.celeba_root: there is no such setting.*data=folder, data=laion, data=web",
        ),
        (
            ["data=laion", "data.root={}", "data.judge_on_celeba=true"],
            r"(?s)judge_on_celeba needs.*data\.celeba_root=DIR",
        ),
        (
            ["scenario=class", "data=laion", "data.root={}", "data.celeba_root={}"],
            r"(?s)shows persons.*scenario=identity",
        ),
        (["data=imagenet", "data.root={}"], r"(?s)ImageNet-1K.*no person.*scenario=class data=imagenet"),
        (["data=laion"], r"(?s)data\.root is needed by data=laion"),
        (["data=laion", "data.root={}", "data.names_file={}/no.txt"], r"data\.names_file: no such file"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(words: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        checked(read([w.format(tmp_path) for w in words]))
