"""One photograph in two places: copies of a data set under one root, own pictures out of a benchmark."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from asks import sets_from
from benchmark_files import FEW, write_celeba, write_imagenet
from pictures import write_cifar_binary, write_cifar_parquet, write_folder

from razor_cli.data.choices import Templates
from razor_cli.data.kinds.own import Folder
from razor_cli.data.sampling import Sizes
from razor_cli.data.sources import cifar10
from razor_cli.data.sources.cifar10 import Cifar10, part_files
from razor_cli.data.sources.imagenet import ImageNet
from razor_cli.data.sources.labelled import Labelled
from razor_cli.data.sources.layouts import Photo, _checked
from razor_cli.data.sources.tally import Tally
from razor_cli.errors import DataError

SMALL = replace(FEW, suite=60)


def test_two_copies_of_cifar_are_refused_with_both_folders(tmp_path: Path) -> None:
    write_cifar_binary(tmp_path / "downloads")
    write_cifar_binary(tmp_path / "old")
    with pytest.raises(DataError, match=r"(?s)several copies of CIFAR-10.*downloads.*old.*data\.cifar_root"):
        assert Cifar10(tmp_path).labels
    assert len(Cifar10(tmp_path / "old").labels["train"]) == 100


def test_links_to_the_same_files_are_one_copy(tmp_path: Path) -> None:
    write_cifar_parquet(tmp_path / "blobs")
    for revision in ("a", "b"):
        (tmp_path / "hub" / revision).mkdir(parents=True)
        for file in (tmp_path / "blobs").iterdir():
            (tmp_path / "hub" / revision / file.name).symlink_to(file)
    assert len(Cifar10(tmp_path / "hub").labels["train"]) == 100


def test_two_forms_two_divisions_and_missing_files_are_refused(tmp_path: Path) -> None:
    both = write_cifar_parquet(tmp_path / "both" / "cifar-10-batches-bin").parent
    write_cifar_binary(both)
    with pytest.raises(DataError, match="two copies of CIFAR-10"):
        part_files(both, "train")
    parts = write_cifar_parquet(tmp_path / "parts")
    shutil.copy(parts / "train-00000-of-00001.parquet", parts / "train-00000-of-00002.parquet")
    with pytest.raises(DataError, match="two divisions"):
        part_files(parts, "train")
    (parts / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(DataError, match=r"(?s)1 files.*not there.*train-00001-of-00002\.parquet"):
        part_files(parts, "train")


def test_a_batch_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    folder = write_cifar_binary(tmp_path) / "cifar-10-batches-bin"
    (folder / "data_batch_6.bin").write_bytes(b"no batch of CIFAR-10's")
    assert len(Cifar10(tmp_path).labels["train"]) == 100
    shutil.copy(folder / "data_batch_1.bin", folder / "data_batch_2.bin")
    with pytest.raises(DataError, match=r"'data_batch_1\.bin' and 'data_batch_2\.bin'.*same photographs"):
        assert Cifar10(tmp_path).labels


def test_files_too_large_for_cifar_are_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet, binary = write_cifar_parquet(tmp_path / "p"), write_cifar_binary(tmp_path / "b")
    monkeypatch.setattr(cifar10, "MAX_ROWS", 10)
    with pytest.raises(DataError, match=r"(?s)too large for CIFAR-10.*100 rows"):
        assert Cifar10(parquet).labels
    with pytest.raises(DataError, match=r"(?s)data_batch_1\.bin' is too large"):
        assert Cifar10(binary).labels
    monkeypatch.setattr(cifar10, "MAX_ROWS", 100)
    monkeypatch.setattr(cifar10, "MAX_COLUMNS", 1000)
    with pytest.raises(DataError, match=r"(?s)too large for CIFAR-10.*bytes of img"):
        Cifar10(parquet).load(Cifar10(parquet).pictures("dog", "train")[:1])


def test_a_row_that_is_no_picture_is_named(tmp_path: Path) -> None:
    table = pa.table(
        {"img": [{"bytes": b"no", "path": "a"}] * 10, "label": pa.array(list(range(10)), pa.int64())}
    )
    for part in ("train", "test"):
        pq.write_table(table, tmp_path / f"{part}-00000-of-00001.parquet")
    source = Cifar10(tmp_path)
    with pytest.raises(DataError, match="row 5 of the train part is no picture"):
        source.load(source.pictures("dog", "train"))
    assert source.flaw("test", 3)


def test_two_copies_of_imagenet_are_refused_and_missing_files_noted(tmp_path: Path) -> None:
    rows = {"image": [{"bytes": b"x", "path": "a"}] * 3, "label": pa.array([0, 1, 2], pa.int64())}
    for place, name in (("a", "train-00001-of-00003"), ("a", "validation-00000-of-00001")):
        (tmp_path / place).mkdir(exist_ok=True)
        pq.write_table(pa.table(rows), tmp_path / place / f"{name}-0123abcd.parquet")
    source = ImageNet(tmp_path)
    assert source.present == (0, 1, 2)
    note = "data.root: parquet files that are not there: 2, such as train-00000-of-00003.parquet"
    assert source.tally.notes() == [note]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with pytest.raises(DataError, match=r"(?s)several copies of ImageNet-1K"):
        assert ImageNet(tmp_path).present


def from_celeba(root: Path) -> tuple[Path, Path]:
    """Write a small CelebA, and own pictures that are copies out of it."""
    celeba = write_celeba(root / "celeba", {"Ada_Quill": 20, "Bo_Diaz": 40, "Cy_Van_Dam": 30})
    for line in (celeba / "list_identity_celeba.txt").read_text().splitlines():
        file, _, name = line.partition(" ")
        if name in ("Ada_Quill", "Bo_Diaz"):
            (root / "own" / name).mkdir(parents=True, exist_ok=True)
            shutil.copy(celeba / "img_align_celeba" / file, root / "own" / name)
    return root / "own", celeba


def test_own_pictures_that_are_the_utilitys_are_left_out_of_it(tmp_path: Path) -> None:
    own, celeba = from_celeba(tmp_path)
    sets = sets_from(Folder, "Ada Quill", SMALL, root=own, celeba_root=celeba)
    (suite,) = sets.suites
    shown = {p.concept for p in suite.pairs.pictures}
    assert shown == {"Cy Van Dam"} and len(suite.pairs) == 30
    assert "data.celeba_root: 40 pictures that are in another set left out" in sets.notes


def test_nobody_is_judged_on_what_an_edit_saw(tmp_path: Path) -> None:
    own, celeba = from_celeba(tmp_path)
    asked = {"root": own, "celeba_root": celeba, "judge_on_celeba": True}
    sizes = Sizes(**(vars(SMALL) | {"evaluation_forget": 99}))
    with pytest.raises(DataError, match=r"(?s)14 of 20 photographs.*found: 0000\d\d\.jpg.*and 9 more"):
        sets_from(Folder, "Ada Quill", sizes, **asked)
    for file in (own / "Ada_Quill").iterdir():
        file.unlink()
    write_folder(own, {"Ada_Quill": 24}, 70_000)
    sets = sets_from(Folder, "Ada Quill", sizes, **asked)
    assert len(sets.evaluation.forget) == 20 and all(
        k.startswith("celeba/") for k in sets.evaluation.forget.keys
    )


def test_own_pictures_out_of_imagenet_are_left_out_of_its_utility(tmp_path: Path) -> None:
    imagenet = write_imagenet(tmp_path / "i", count=1, val=8)
    own = write_folder(tmp_path / "own", {"Ada Quill": 24})
    shutil.copytree(imagenet / "val" / "n01440764", own / "tench")
    shutil.copytree(imagenet / "val" / "n01443537", own / "goldfish")
    write_folder(own, {"others": 40}, 5000)
    sets = sets_from(
        Folder,
        "Ada Quill",
        Sizes(**(vars(SMALL) | {"retain": 99})),
        root=own,
        imagenet_root=imagenet,
        templates=Templates.ONE,
    )
    (suite,) = sets.suites
    assert len(suite.pairs) == 24
    assert "data.imagenet_root: 16 pictures that are in another set left out" in sets.notes


def test_a_list_that_gives_a_picture_two_labels_is_refused(tmp_path: Path) -> None:
    tally = Tally(setting="data.root")
    twice = [Photo(path="a.jpg", label="pug", part="train"), Photo(path="a.jpg", label="pug", part="test")]
    assert _checked(twice, tmp_path, tally) == (twice[1],)
    assert tally.notes() == ["data.root: pictures that are listed twice: 1, such as a.jpg"]
    with pytest.raises(DataError, match=r"(?s)'a\.jpg' has two labels.*pug and cat"):
        _checked([*twice, Photo(path="a.jpg", label="cat")], tmp_path, tally)


def test_what_a_folder_per_class_holds_besides_is_counted(tmp_path: Path) -> None:
    root = write_folder(tmp_path, {"pug": 8, "cat": 8})
    (root / "pug" / "deep").mkdir()
    (root / "pug" / "a.heic").write_bytes(b"x")
    source = Labelled(root)
    assert source.concepts() == ["cat", "pug"]
    assert source.tally.notes() == [
        "data.root: .heic files, which are not read: 1, such as pug/a.heic",
        "data.root: folders in folders of classes, which are not read: 1, such as pug/deep",
    ]
