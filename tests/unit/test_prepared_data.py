"""CIFAR-10's layouts and its preparation, and the cache of rendered pictures."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from pictures import write_cifar_binary, write_cifar_parquet
from PIL import Image

from razor_cli.caches import cache_dir
from razor_cli.data import rendered
from razor_cli.data.fetch import prepare_cifar10
from razor_cli.data.rendered import Rendered, merge_shard, read_shard
from razor_cli.data.sources.base import SPLITS, Picture
from razor_cli.data.sources.cifar10 import CLASSES, Cifar10
from razor_cli.data.sources.emoji import Emoji
from razor_cli.errors import DataError, RunError


def test_cifar_layouts_agree_pixel_for_pixel(tmp_path: Path) -> None:
    parquet, binary = (
        Cifar10(write_cifar_parquet(tmp_path / "p")),
        Cifar10(write_cifar_binary(tmp_path / "b")),
    )
    for split in SPLITS:
        pictures = parquet.pictures("ship", split)
        assert pictures == binary.pictures("ship", split)
        for a, b in zip(parquet.load(pictures), binary.load(pictures), strict=True):
            assert np.array_equal(np.asarray(a), np.asarray(b))
    assert sum(len(parquet.pictures(c, s)) for c in CLASSES for s in SPLITS) == 150


def test_cifar_pickles_are_refused_with_the_way_out(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(b"cos\nsystem\n(S'false'\ntR.")
    with pytest.raises(
        DataError, match=r"(?s)pickle can run code.*prepare cifar10.*cifar-10-binary\.tar\.gz"
    ):
        Cifar10(tmp_path).pictures("ship", "train")


def test_prepare_copies_checks_and_never_replaces(tmp_path: Path) -> None:
    counts = {"train": 100, "test": 50}
    source = write_cifar_binary(tmp_path / "from")
    to = tmp_path / "data" / "cifar10"
    assert prepare_cifar10(to, source, counts=counts) is True
    assert prepare_cifar10(to, source, counts=counts) is False
    with pytest.raises(DataError, match="exists and is not CIFAR-10"):
        prepare_cifar10(to, source)
    with pytest.raises(DataError, match="not all of CIFAR-10"):
        prepare_cifar10(tmp_path / "new", source)
    assert sorted(p.name for p in to.parent.iterdir()) == ["cifar10"]
    assert not (tmp_path / "new").exists()


def test_prepare_without_the_hub_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def offline(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(RunError, match=r"(?s)cannot be fetched.*no route.*--from DIR") as caught:
        prepare_cifar10(tmp_path / "cifar10")
    assert caught.value.exit_code == 1
    assert list(tmp_path.iterdir()) == []


class Counting:
    """A source that counts what it renders."""

    name, domain = "counting", "emoji"

    def __init__(self) -> None:
        self.calls = 0

    def concepts(self) -> list[str]:
        return ["a"]

    def pictures(self, concept: str, split: str) -> list[Picture]:
        return [Picture(key=f"counting/{i % 3}", concept=concept, domain="emoji", view=i) for i in range(6)]

    def load(self, pictures: list[Picture]) -> list[Image.Image]:
        self.calls += len(pictures)
        return [Image.new("RGB", (4, 4), (p.view, 7, 9)) for p in pictures]


def test_rendered_once_and_equal(tmp_path: Path) -> None:
    source = Emoji()
    pictures = [p for c in ("owl", source.concepts()[0]) for p in source.pictures(c, "train")[:4]][::-1]
    first, again = Rendered(source, tmp_path).load(pictures), Rendered(Emoji(), tmp_path).load(pictures)
    for plain, a, b in zip(source.load(pictures), first, again, strict=True):
        assert np.array_equal(np.asarray(plain), np.asarray(a)) and np.array_equal(
            np.asarray(plain), np.asarray(b)
        )
    counting = Counting()
    kept = Rendered(counting, tmp_path)
    wanted = kept.pictures("a", "train")
    for _ in range(2):
        assert [np.asarray(i)[0, 0, 0] for i in kept.load(wanted[::-1])] == [5, 4, 3, 2, 1, 0]
    assert counting.calls == 6


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "noise"])
def test_damaged_shards_are_rendered_again(tmp_path: Path, damage: str) -> None:
    counting = Counting()
    kept = Rendered(counting, tmp_path)
    wanted = kept.pictures("a", "train")
    kept.load(wanted)
    (path,) = tmp_path.rglob("*.safetensors")
    data = bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(
        {"cut": bytes(data[:-40]), "flip": bytes(data), "empty": b"", "noise": bytes(99)}[damage]
    )
    assert [np.asarray(i)[0, 0].tolist() for i in kept.load(wanted)] == [[v, 7, 9] for v in range(6)]
    assert counting.calls == (7 if damage == "flip" else 12)
    assert len(read_shard(path)) == 6


def test_parallel_writers_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    jobs = [
        threading.Thread(target=merge_shard, args=(path, {f"k{i}": np.full((2, 2, 3), i, np.uint8)}))
        for i in range(12)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    found = read_shard(path)
    assert {k: int(v[0, 0, 0]) for k, v in found.items()} == {f"k{i}": i for i in range(12)}
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.suffix != ".lock") == [".safetensors"]


def test_cache_place_follows_argument_then_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path / "env"))
    assert cache_dir() == tmp_path / "env"
    assert cache_dir(tmp_path) == tmp_path
    assert rendered.renderer_version() in str(Rendered(Emoji()).folder)
