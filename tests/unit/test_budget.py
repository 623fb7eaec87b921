"""How much a run may take, how many examples fit into it, and that no result depends on it."""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import weakref
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run
from torch import nn
from torch.nn import functional as F

from razor_cli.config.amounts import bytes_of
from razor_cli.contract import budget
from razor_cli.contract.budget import Budget, budget_of, free_memory, in_use
from razor_cli.contract.method import GradientPlan
from razor_cli.dual.encoder import Encoder
from razor_cli.dual.gradients import summing
from razor_cli.dual.view import Tower
from razor_cli.engine.lab import Lab
from razor_cli.engine.probe import held_by, rows_fit
from razor_cli.errors import ConfigError, RunError
from razor_cli.runs.records import MemoryRecord

SETS = make_sets()
MB = 2**20


def test_amounts_are_written_with_their_unit() -> None:
    assert [bytes_of(m) for m in ("auto", "8GB", "1.5 gb", "512MB")] == [None, 2**33, 3 * 2**29, 2**29]
    for wrong, fix in (
        ("8", "memory=8GB"),
        ("much", "memory=auto"),
        ("8 bananas", "memory=auto"),
        ("0GB", "auto"),
    ):
        with pytest.raises(ConfigError, match="memory") as found:
            bytes_of(wrong)
        assert fix in str(found.value.fix)


def test_free_memory_is_what_system_and_groups_leave(tmp_path: Path) -> None:
    proc, group, own = tmp_path / "meminfo", tmp_path / "group", tmp_path / "own"
    assert free_memory(proc, group, own) is None
    proc.write_text("MemTotal: 9 kB\nMemAvailable: 4 kB\n")
    assert free_memory(proc, group, own) == 4096
    inner = group / "a/b"
    inner.mkdir(parents=True)
    own.write_text("0::/a/b\n")
    (group / "a/memory.max").write_text("3000\n")  # of a group around its own
    (group / "a/memory.current").write_text("1000\n")
    assert free_memory(proc, group, own) == 2000
    (group / "a/memory.stat").write_text("anon 5\ninactive_file 400\n")
    assert free_memory(proc, group, own) == 2400
    (group / "a/memory.max").write_text("max\n")
    assert free_memory(proc, group, own) == 4096
    old = group / "memory/docker/c"
    old.mkdir(parents=True)
    own.write_text("4:memory:/docker/c\n1:cpu:/x\n")
    (old / "memory.limit_in_bytes").write_text("700\n")
    (old / "memory.usage_in_bytes").write_text("100\n")
    assert free_memory(proc, group, own) == 600


def test_a_budget_is_a_share_of_what_is_free_or_what_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "free_on", lambda _: 1000 * MB)
    monkeypatch.setattr(budget, "in_use", lambda _: 100 * MB)
    assert budget_of("auto", "cpu").total == 900 * MB
    assert budget_of("auto", "cpu", processes=2).total == 500 * MB
    asked = budget_of("200MB", "cpu")
    assert (asked.total, asked.narrowed) == (200 * MB, False)
    assert (budget_of("8GB", "cpu").total, budget_of("8GB", "cpu").narrowed) == (1100 * MB, True)
    monkeypatch.setattr(budget, "free_on", lambda _: None)
    assert budget_of("auto", "cpu").fit("x", 10**12, 0) == budget.AT_ONCE


def test_a_power_of_two_fits_and_too_little_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "in_use", lambda _: 0)

    def fit(total: int, each: int, **more: Any) -> int:
        return Budget(total=math.ceil(total * budget.SLACK), **more).fit("x", each, 0)

    assert [fit(total, 10) for total in (10, 39, 40, 79, 1279, 1280, 10**6)] == [1, 2, 4, 4, 64, 128, 128]
    with pytest.raises(RunError, match="memory=auto: not one example fits"):
        fit(9, 10)
    with pytest.raises(ConfigError, match="memory=1MB") as found:
        fit(9, 10, asked="1MB")
    assert found.value.exit_code == 2 and "memory=1GB" in str(found.value.fix)
    with pytest.raises(RunError):
        fit(9, 10, asked="1MB", narrowed=True)


@pytest.mark.parametrize("total", [100 * MB, 40 * 2**30])  # kept: a share of the one, 1 GB of the other
def test_what_is_said_to_suffice_suffices(total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "in_use", lambda device: total // 2)

    def fits(most: int) -> int:
        return Budget(total=most, asked="1MB").fit("x", total, MB, held=MB, keeps=2)

    with pytest.raises(ConfigError) as found:
        fits(total)
    needed = bytes_of(str(found.value.allowed).removesuffix(" or more").replace(" ", ""))
    assert needed is not None and fits(int(1.02 * needed)) >= 1  # it is said with a few digits
    with pytest.raises(ConfigError):
        fits(int(0.95 * needed))


def test_longer_texts_are_tried_anew_and_texts_have_a_fit_of_their_own() -> None:
    model, rows = clip_within(2**40), {}
    for words in ("a dog", "a dog and a cat and an owl in a garden", "a dog"):
        tokens = model.tokenize([words, words])
        assert rows_fit(model.budget, "texts", model.encode_text, tokens) == 128
        rows[tokens.shape[1]] = model.budget.fits["texts"].each
    long = max(rows)
    assert len(rows) == 2 and rows[long] == model.budget.fits["texts"].each > 0
    Lab(family=model, sets=SETS).gradients(GradientPlan(forget_loss="concept_ce", chunk=2))
    assert model.budget.fits["texts of a gradient"].each > 0


def test_a_probe_sees_what_a_pass_forward_keeps_and_goes_no_further() -> None:
    sizes = (64, 256, 256)
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.Sigmoid())]
    net, x = nn.Sequential(*hidden, nn.Linear(256, 64)), torch.randn(1000, 64)
    layer = 1000 * 256 * 4
    assert held_by(lambda: net(x).sum().backward()) == 3 * layer  # what enters a sigmoid dies behind it
    assert all(p.grad is None for p in net.parameters())
    assert held_by(torch.no_grad()(lambda: net(x))) == 2 * layer


@pytest.mark.parametrize("step", [torch.sigmoid, torch.softmax, torch.tanh, F.gelu])
def test_a_probe_holds_nothing_afterwards(step: Callable[..., torch.Tensor]) -> None:
    """A graph that waits for the collector of cycles, or holds itself, would count as in use."""
    model, graph = clip_within(None), []
    how = {"dim": -1} if step is torch.softmax else {}

    def compute() -> None:
        with summing(model, None) as total, torch.enable_grad():
            value = step(model.encode_text(model.tokenize(["a dog"])), **how)
            graph.append(weakref.ref(value))
            total.add(value.sum())

    gc.disable()
    try:
        assert held_by(compute) > 0
        assert graph[0]() is None
    finally:
        gc.enable()


def test_room_is_left_for_gradients_that_are_yet_to_come(monkeypatch: pytest.MonkeyPatch) -> None:
    model, asked = clip_within(2**40), []
    fit = Budget.fit

    def told(self: Budget, what: str, *args: Any, held: int = 0, **more: Any) -> int:
        asked.append((what, held))
        return fit(self, what, *args, held=held, **more)

    monkeypatch.setattr(Budget, "fit", told)
    lab = Lab(family=model, sets=SETS)
    lab.gradients(GradientPlan(forget_loss="cosine"))
    each = sum(p.nbytes for n, p in model.module.named_parameters() if n in lab.editable)
    # without a cache two more are kept: those at the unedited weights
    assert asked == [("gradient of cosine", 3 * each), ("gradient of retain", 3 * each)]


def clip_within(total: int | None) -> Any:
    model = make_clip(torch.float32)
    model.within(Budget(total=total, asked="auto" if total is None else f"{total // MB}MB"))
    return model


def narrow(monkeypatch: pytest.MonkeyPatch, each: int) -> Any:
    """Return a tiny model of which `each` examples are taken at once, whatever they hold."""
    model = clip_within(2**40)
    monkeypatch.setattr(budget, "AT_ONCE", each)
    monkeypatch.setattr(budget, "_power", lambda room, of, most: min(each, most))
    return model


@pytest.mark.parametrize("name", ["razor", "slug", "ga"])
def test_the_edit_is_the_same_whatever_is_taken_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = preset(name, **({"epochs": 2, "precision": "fp32"} if name == "ga" else {}))
    whole = run(method, clip_within(None), SETS)
    parts_of = narrow(monkeypatch, 4)
    parts = run(method, parts_of, SETS)
    assert parts_of.budget.fits and {f.at_once for f in parts_of.budget.fits.values()} == {4}
    assert parts.components == whole.components and whole.components
    for a, b in zip(whole.log, parts.log, strict=True):
        assert (a.action, a.component) == (b.action, b.component)
        assert (a.step_size or 0) == pytest.approx(b.step_size or 0, rel=1e-5)
    for n, value in whole.values.items():
        torch.testing.assert_close(parts.values[n], value, rtol=0, atol=1e-5)
    record = MemoryRecord.of(parts_of.budget)
    assert record.asked != "auto" and all(f.each_mb > 0 for f in record.chosen.values())


def test_what_is_loaded_part_by_part_is_what_was_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    kept, listed = clip_within(None), clip_within(2**40)
    monkeypatch.setattr(Budget, "kept", property(lambda self: 0 if self.total else 2**30))
    boards = [Lab(family=m, sets=SETS).board for m in (kept, listed)]
    assert boards[0].base == boards[1].base
    exams = [m.exam(SETS, None, None, print) for m in (kept, listed)]
    for tower in Tower:
        assert torch.equal(*(exam.embeddings(tower) for exam in exams))


def test_a_budget_that_holds_no_picture_is_refused_before_any_gradient() -> None:
    model = clip_within(in_use("cpu") // 2)
    with pytest.raises(ConfigError, match="not one example fits") as found:
        run(preset("slug"), model, SETS)
    assert "allowed" in str(found.value) and "memory=" in str(found.value.fix)


def test_training_steps_in_parts_have_the_gradient_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for model in (clip_within(None), narrow(monkeypatch, 4)):
        encoder = Encoder(Lab(family=model, sets=SETS), preset("ga", precision="fp32"))
        pixels = model.preprocess(SETS.forget.load())
        weight = dict(model.module.named_parameters())["visual.proj"]
        with torch.enable_grad():
            rows = encoder.encode_image(pixels)
            value = (rows @ rows.T).square().sum()
        found.append(torch.autograd.grad(value, weight)[0])
    torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-6)


def test_pages_of_a_checkpoint_go_and_come_back(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    from razor_cli.weights.checkpoint import read_state
    from razor_cli.weights.resident import page_out

    values = {"a": torch.randn(512, 1024), "b": torch.randn(3)}
    save_file(values, tmp_path / "w.safetensors")
    found = read_state(tmp_path / "w.safetensors")
    page_out([*found.values(), torch.randn(0), torch.randn(2048)])
    assert all(torch.equal(found[n], v) for n, v in values.items())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc alone knows how")
def test_large_blocks_go_back_at_once_although_small_ones_stay_between_them() -> None:
    asked = """
import sys, torch
from razor_cli.contract.budget import in_use, large_blocks_apart
assert sys.argv[1] == "0" or large_blocks_apart()
torch.ones(2**22)  # once it is gone, blocks up to its 16 MB come from the heap
large, small = [], []
for _ in range(20):
    large.append(torch.ones(2**21))
    small.append(torch.ones(2**15))
before = in_use("cpu")
large.clear()
print((before - in_use("cpu")) / (20 * 2**23))
"""
    kept, gone = (
        float(subprocess.run([sys.executable, "-c", asked, on], capture_output=True, check=True).stdout)
        for on in ("0", "1")
    )
    assert kept < 0.5 and gone > 0.9


def test_a_scoreboard_that_was_put_away_leaves_its_notes() -> None:
    lab = Lab(family=clip_within(None), sets=SETS)
    board = weakref.ref(lab.board)
    lab.board.notes = ["judged by a sample"]  # type: ignore[misc]
    lab.put_away()
    gc.collect()
    assert board() is None and lab.notes == ["judged by a sample"]
