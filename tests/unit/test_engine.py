"""The fast engine against the slow one, and a gradient cache that survives kills and company."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from presets import preset
from safetensors.torch import load_file
from tiny_world import make_clip, make_sets, run
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import parameters
from razor_cli.contract.cost import Cost
from razor_cli.contract.edit import Edit
from razor_cli.contract.method import GradientPlan
from razor_cli.dual.board import DualBoard
from razor_cli.engine import cache as cache_module
from razor_cli.engine.cache import TensorCache, content_key
from razor_cli.engine.lab import Lab, shared_cache
from razor_cli.families.clip.family import Clip

SETS = make_sets()
HALF, WHOLE = torch.float16, torch.float32


def steps(edit: Edit) -> list[tuple[str, str, float | None]]:
    return [(e.action, e.component, e.step_size) for e in edit.log]


@pytest.mark.parametrize("name", ["razor", "razor_paper", "razor_anchor", "slug", "slug_code"])
@pytest.mark.parametrize("dtype", [HALF, WHOLE])
def test_fast_and_plain_give_the_same_edit(
    taught: Any, name: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    fast = run(preset(name), make_clip(dtype), SETS, fast=True, cache=shared_cache(tmp_path))
    plain = run(preset(name), make_clip(dtype), SETS, fast=False)
    assert fast.components == plain.components and fast.components
    assert steps(fast) == steps(plain)
    assert fast.values.keys() == plain.values.keys()
    for n, value in plain.values.items():
        assert float((fast.values[n].double() - value.double()).norm()) <= 1e-6 * float(value.double().norm())


def test_the_fast_board_encodes_less(clip: Clip) -> None:
    """One trial of a late block: plain encodes every picture, fast only the share of blocks behind the
    change.
    """
    late = next(c for c in clip.components(Granularity.HEAD_MLP, Towers.BOTH) if c.name == "visual.2.mlp")
    text = next(c for c in clip.components(Granularity.HEAD_MLP, Towers.BOTH) if c.name == "text.0.mlp")
    values = {c.name: {p: parameters(clip)[p] * 1.1 for p in c.params} for c in (late, text)}
    spent = {}
    for fast in (True, False):
        cost = Cost()
        board = DualBoard(clip, SETS, cost, fast=fast)
        board.prepare([late])
        counts = []
        for c in (late, text):
            before = cost.forwards
            board.trial(values[c.name], [c])
            counts.append(cost.forwards - before)
        before = cost.forwards
        board.trial(values[late.name], [late], wanted={"fa_top5"})
        spent[fast] = [*counts, cost.forwards - before]
    assert spent[False] == [44, 44, 44]
    assert spent[True] == [15, 0, 4]


def same(a: Edit, b: Edit) -> bool:
    return (
        steps(a) == steps(b)
        and a.values.keys() == b.values.keys()
        and all(torch.equal(a.values[n], b.values[n]) for n in a.values)
    )


def test_a_second_edit_takes_its_gradients_from_the_cache(clip: Clip, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path / "cache")
    edits = [
        run(preset("razor_bounded", grow_rounds=0, search_steps=3), clip, SETS, cache=cache) for _ in range(2)
    ]
    assert [e.cost.gradient_cache_hits for e in edits] == [0, 2]
    assert edits[0].cost.backwards == 44 and edits[1].cost.backwards == 0
    assert same(*edits)
    assert same(edits[0], run(preset("razor_bounded", grow_rounds=0, search_steps=3), clip, SETS))
    other = run(
        preset("razor_bounded", rho=0.9, alpha=0.1, tau=0.2, grow_rounds=0, search_steps=3),
        clip,
        SETS,
        cache=cache,
    )
    assert other.cost.gradient_cache_hits == 2
    assert sorted(p.suffix for p in cache.folder.iterdir() if p.suffix != ".lock") == [".safetensors"] * 2


def hits(model: Clip, cache: TensorCache, sets: Any = SETS, **plan: Any) -> int:
    lab = Lab(family=model, sets=sets, cache=cache)
    keywords = {k: plan.pop(k) for k in ("sample", "at_base") if k in plan}
    lab.gradients(GradientPlan(**plan), **keywords)
    return lab.cost.gradient_cache_hits


def test_whatever_changes_a_gradient_misses_the_cache(clip: Clip, clip32: Clip, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    assert hits(clip, cache) == 0
    assert hits(clip, cache) == 2
    plans: list[dict[str, Any]] = [{"retain_batch": 8}, {"forget_batch": 8}, {"forget_loss": "concept_ce"}]
    for other in plans:  # each changes one of the two gradients, and leaves the other in the cache
        assert hits(clip, cache, **other) == 1, other
        fresh, kept = (
            Lab(family=clip, sets=SETS, cache=c).gradients(GradientPlan(**other)) for c in (None, cache)
        )
        assert all(torch.equal(a[n], b[n]) for a, b in zip(fresh, kept, strict=True) for n in a), other
    assert hits(clip, cache, chunk=64) == 0
    assert hits(clip, cache, sample=8) == 0
    assert hits(clip32, cache) == 0
    assert hits(clip, cache, make_sets(others=("Ben", "Cleo"))) <= 1  # the forget set is the same
    assert hits(clip, cache, at_base=False) == 0
    parameters(clip)["logit_scale"].add_(1.0)
    assert hits(clip, cache) <= 1


def test_gradients_are_those_of_what_may_be_edited_in_memory_and_on_disk(clip: Clip, tmp_path: Path) -> None:
    lab = Lab(family=clip, sets=SETS, cache=TensorCache(tmp_path))
    for granularity in Granularity:  # one set for all, so that methods share what is cached
        owned = {p for c in clip.components(granularity, Towers.BOTH, True) for p in c.params}
        assert owned <= set(lab.editable)
    every = parameters(clip).keys()
    assert {"logit_scale", "positional_embedding", "token_embedding.weight"} <= every - set(lab.editable)
    found = dict(zip(("cosine", "retain"), lab.gradients(GradientPlan()), strict=True))
    assert all(set(load_file(p)) == set(lab.editable) for p in tmp_path.glob("*.safetensors"))
    for name, part in (("cosine", SETS.forget), ("retain", SETS.retain)):
        whole = clip.loss(name, SETS).gradient(part, 128, every, lambda *_: None)
        assert found[name].keys() == set(lab.editable) and whole.keys() == every
        assert all(torch.equal(found[name][n], whole[n]) for n in lab.editable)


def test_edited_weights_never_reach_the_cache(clip: Clip, tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    settings = {
        "tau": float("inf"),
        "grow_rounds": 2,
        "target": {"m1": 0.0, "m5": 100.0},
        "search_steps": 2,
    }
    run(preset("razor_bounded", **settings), clip, SETS, cache=cache)
    assert len(list(tmp_path.glob("*.safetensors"))) == 2
    g_f, g_r = Lab(family=clip, sets=SETS).gradients(GradientPlan())
    cached = Lab(family=clip, sets=SETS, cache=cache)
    for fresh, kept in zip((g_f, g_r), cached.gradients(GradientPlan()), strict=True):
        assert all(torch.equal(fresh[n], kept[n]) for n in fresh)
    assert cached.cost.gradient_cache_hits == 2


def test_keys_depend_on_content_not_on_order() -> None:
    assert content_key({"a": 1, "b": [2]}) == content_key({"b": [2], "a": 1})
    assert content_key({"a": 1}) != content_key({"a": 2}) != content_key({"b": 2})


TENSORS = {"w": torch.arange(5000.0), "t": torch.ones(3, 4).T}


def entry() -> dict[str, Tensor]:
    return dict(TENSORS)


def never() -> NoReturn:
    raise AssertionError("was computed again")


def check(found: dict[str, Tensor]) -> None:
    assert found.keys() == TENSORS.keys() and all(torch.equal(found[n], TENSORS[n]) for n in TENSORS)


@pytest.mark.parametrize("damage", ["cut", "empty", "header", "text"])
def test_a_damaged_entry_is_computed_again(tmp_path: Path, damage: str) -> None:
    cache = TensorCache(tmp_path)
    cache.get("k", entry)
    path, whole = cache.path("k"), cache.path("k").read_bytes()
    path.write_bytes(
        {"cut": whole[:-100], "empty": b"", "header": b"\xff" * 16 + whole[16:], "text": b"not this"}[damage]
    )
    found, hit = cache.get("k", entry)
    assert not hit
    check(found)
    assert path.read_bytes() == whole
    assert cache.get("k", never)[1]


def forked(work: Callable[[], object]) -> int:
    """Do some work in a child process, and return its id; it ends at once afterwards, with 0 if nothing was
    raised.
    """
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    finally:
        os._exit(code)


@pytest.mark.parametrize("moment", ["half written", "before the move", "after the move", "computing"])
def test_a_kill_at_any_moment_leaves_no_half_entry(
    tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, real_save, real_replace = TensorCache(tmp_path), cache_module.write_checked, os.replace

    def die(*_: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    def half(path: Path, tensors: Any) -> None:
        real_save(path, tensors)
        os.truncate(path, path.stat().st_size // 2)
        die()

    def moved(*paths: Any) -> None:
        real_replace(*paths)
        die()

    with monkeypatch.context() as patch:  # the child inherits it
        if moment == "half written":
            patch.setattr(cache_module, "write_checked", half)
        elif moment != "computing":
            patch.setattr(cache_module.os, "replace", die if moment == "before the move" else moved)
        child = forked(lambda: cache.get("k", die if moment == "computing" else entry))
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    kept = cache.load("k")
    assert (kept is not None) is (moment == "after the move")
    found, hit = cache.get("k", never if kept else entry)  # the dead process's lock stops nobody
    assert hit is (kept is not None)
    check(found)
    assert cache.get("k", never)[1]


def test_of_two_processes_one_computes_and_the_other_waits(tmp_path: Path) -> None:
    cache, log = TensorCache(tmp_path / "cache"), tmp_path / "computed"

    def slow() -> dict[str, Tensor]:
        with log.open("a") as file:
            file.write("once\n")
        time.sleep(0.4)
        return entry()

    children = [forked(lambda: check(cache.get("k", slow)[0])) for _ in range(2)]
    assert [os.waitpid(c, 0)[1] for c in children] == [0, 0]
    assert log.read_text() == "once\n"
    check(cache.get("k", never)[0])


def test_a_failing_computation_leaves_nothing_and_frees_the_lock(tmp_path: Path) -> None:
    cache = TensorCache(tmp_path)
    with pytest.raises(AssertionError):
        cache.get("k", never)
    assert cache.load("k") is None
    check(cache.get("k", entry)[0])


def test_beyond_its_limit_the_cache_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    unbounded = TensorCache(tmp_path)
    for age, key in enumerate(("new", "middle", "old")):
        unbounded.get(key, entry)
        os.utime(unbounded.path(key), (1e9 - age, 1e9 - age))
    size = unbounded.path("old").stat().st_size
    bounded = TensorCache(tmp_path, limit=3 * size)
    assert bounded.get("old", never)[1]  # now it is the last that was used
    bounded.get("another", entry)
    assert {p.stem for p in tmp_path.glob("*.safetensors")} == {"new", "old", "another"}
    assert {p.stem for p in tmp_path.glob("*.lock")} <= {"new", "old", "another"}
    TensorCache(tmp_path, limit=1).get("large", entry)  # what was just computed stays
    assert [p.stem for p in tmp_path.glob("*.safetensors")] == ["large"]


def test_the_cache_is_one_folder_for_all_runs_of_an_output_folder(tmp_path: Path) -> None:
    assert shared_cache(tmp_path).folder == tmp_path / "cache"
