"""The bound of the cache in bytes: what was used longest ago goes first, the newest entry stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from presets import preset
from tiny_world import make_sets, run
from torch import Tensor

from razor_cli.engine.cache import TensorCache
from razor_cli.engine.lab import shared_cache
from razor_cli.families.clip.family import Clip


def entry() -> dict[str, Tensor]:
    return {"w": torch.arange(1000.0)}


def size_of_one(folder: Path) -> int:
    cache = TensorCache(folder / "alone")
    cache.save("a", entry())
    return cache.path("a").stat().st_size


def filled(folder: Path, limit: float | None, count: int = 4) -> TensorCache:
    """Return a cache in which a, b, c … were written and last used in this order, before it had its bound."""
    cache = TensorCache(folder / "cache")
    for number in range(count):
        key = "abcdefgh"[number]
        cache.save(key, entry())
        os.utime(cache.path(key), ns=(number * 10**9, number * 10**9))
    cache.limit = limit
    return cache


def held(cache: TensorCache) -> str:
    return "".join(sorted(p.stem for p in cache.folder.glob("*.safetensors")))


def test_without_a_bound_everything_stays(tmp_path: Path) -> None:
    cache = filled(tmp_path, None, 8)
    cache.trim()
    assert held(cache) == "abcdefgh"


@pytest.mark.parametrize(("entries", "left"), [(5, "abcdz"), (4, "bcdz"), (3.9, "cdz"), (2, "dz"), (1, "z")])
def test_the_oldest_go_until_the_rest_fits(tmp_path: Path, entries: float, left: str) -> None:
    one = size_of_one(tmp_path)
    cache = filled(tmp_path, entries * one)
    found, hit = cache.get("z", entry)
    assert not hit and torch.equal(found["w"], entry()["w"])
    assert held(cache) == left
    assert sum(p.stat().st_size for p in cache.folder.glob("*.safetensors")) <= entries * one


@pytest.mark.parametrize("entries", [0, 0.5])
def test_the_newest_entry_stays_even_alone_above_the_bound(tmp_path: Path, entries: float) -> None:
    cache = filled(tmp_path, entries * size_of_one(tmp_path))
    cache.save("z", entry())
    assert held(cache) == "z" and cache.get("z", entry)[1]
    cache.save("y", entry())
    assert held(cache) == "y"
    cache.trim()  # on request, as `razor data clean` does, nothing is kept above the bound
    assert held(cache) == ""


def test_an_entry_that_is_used_again_is_young(tmp_path: Path) -> None:
    cache = filled(tmp_path, 3 * size_of_one(tmp_path))
    assert cache.load("a") is not None
    cache.save("z", entry())
    assert held(cache) == "adz"


def test_locks_go_with_their_entries_and_other_files_stay(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path, limit=0)
    (tmp_path / "notes.txt").write_text("mine")
    for key in "ab":
        cache.get(key, entry)
    assert held(cache) == "b"
    assert not cache.path("a").with_suffix(".lock").exists() and (tmp_path / "notes.txt").exists()


def test_an_edit_under_a_bound_of_nothing_is_the_same_edit(clip: Clip, tmp_path: Path) -> None:
    settings, sets = {"grow_rounds": 0, "search_steps": 3}, make_sets()
    plain = run(preset("razor_paper", **settings), clip, sets)
    cache = shared_cache(tmp_path, 0)
    bounded = [run(preset("razor_paper", **settings), clip, sets, cache=cache) for _ in range(2)]
    assert len(held(cache)) == 32  # one entry: of g_f and g_r the one that was written last
    assert [e.cost.gradient_cache_hits for e in bounded] == [0, 0]
    for edit in bounded:
        assert edit.values.keys() == plain.values.keys() and plain.values
        assert all(torch.equal(v, plain.values[n]) for n, v in edit.values.items())
