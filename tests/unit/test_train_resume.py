"""A training that is killed and goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import bits, make_clip, make_sets, run
from torch import Tensor
from tracing_worlds import traced

from razor_cli.dual.desk import Desk
from razor_cli.engine import train as loop
from razor_cli.engine.choices import Keep, Optimizer
from razor_cli.engine.lab import Lab
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train import train
from razor_cli.engine.train_state import generator_of
from razor_cli.methods.gaft import Gaft, ThereAndBack


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


class KilledError(Exception):
    pass


class Dying(Objective):
    """Another objective that is killed in the middle of an epoch."""

    def __init__(self, inner: Objective, number: int) -> None:
        self.inner, self.number = inner, number

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        steps = list(self.inner.epoch(number, generator))
        if number == self.number:
            steps[1] = Step(loss=self.die, pictures=1)
        return steps

    def die(self) -> Tensor:
        raise KilledError


def trained(settings: Gaft, folder: Path | None, kill: int | None = None) -> tuple[Any, Lab]:
    model, sets = make_clip(), make_sets()
    lab = Lab(family=model, sets=sets, seed=3, resume_dir=folder)
    objective: Objective = ThereAndBack(Desk(lab, settings), settings)
    before = bits(model)
    try:
        return train(lab, settings, Dying(objective, kill) if kill else objective), lab
    finally:
        assert bits(model) == before
        assert all(p.grad is None and p.requires_grad for p in model.module.parameters())


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("keep", [Keep.CLOSEST_TO_TARGET, Keep.LAST])
def test_a_killed_training_goes_on_to_the_same_bits(tmp_path: Path, optimizer: Optimizer, keep: Keep) -> None:
    settings = Gaft(
        lr=3e-4 if optimizer is Optimizer.ADAMW else 3e-2, epochs=3, batch=11, optimizer=optimizer, keep=keep
    )
    whole, lab_whole = trained(settings, None)
    with pytest.raises(KilledError):
        trained(settings, tmp_path, kill=3)
    assert len(list(tmp_path.iterdir())) == 1
    resumed, lab_resumed = trained(settings, tmp_path)
    assert "went on after epoch 2" in resumed.notes[0]
    assert same(whole.values, resumed.values) and whole.components == resumed.components
    assert [(e.step, e.note, e.after) for e in whole.log] == [(e.step, e.note, e.after) for e in resumed.log]
    assert lab_resumed.cost.backwards == lab_whole.cost.backwards
    assert list(tmp_path.iterdir()) == []  # removed when finished


@pytest.mark.parametrize(
    "name", ["salun", "lotus", "salun_tan", "npo_kl_tan", "task_vector_tan", "relabel_tan", "nhl_kl"]
)
def test_every_kind_of_objective_goes_on_to_the_same_bits(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Masks, teachers, drawn labels and frozen references are built again, from the unedited weights."""
    method, sets = preset(name, epochs=3, lr=1e-4), traced() if name.endswith("_tan") else make_sets()
    whole = run(method, make_clip(), sets, seed=3)
    epoch = loop._Run._epoch

    def killed(self: Any, number: int, steps: Sequence[Step]) -> None:
        if number == 3:
            raise KilledError
        epoch(self, number, steps)

    with monkeypatch.context() as patched, pytest.raises(KilledError):
        patched.setattr(loop._Run, "_epoch", killed)
        run(method, make_clip(), sets, seed=3, resume_dir=tmp_path)
    resumed = run(method, make_clip(), sets, seed=3, resume_dir=tmp_path)
    assert any("went on after epoch 2" in n for n in resumed.notes)
    assert same(whole.values, resumed.values)
    assert [(e.step, e.note, e.after) for e in whole.log] == [(e.step, e.note, e.after) for e in resumed.log]


def test_a_state_of_other_settings_or_a_damaged_one_is_not_taken_up(tmp_path: Path) -> None:
    settings = Gaft(lr=3e-4, epochs=2, batch=16)
    with pytest.raises(KilledError):
        trained(settings, tmp_path, kill=2)
    other, _ = trained(replace(settings, lr=1e-4), tmp_path)
    assert not any("went on" in n for n in other.notes)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:1000])
    again, _ = trained(settings, tmp_path)
    assert not any("went on" in n for n in again.notes)
    assert same(again.values, trained(settings, None)[0].values)


def test_sampling_depends_on_seed_and_epoch_only() -> None:
    def order(seed: int, number: int) -> list[int]:
        return torch.randperm(50, generator=generator_of(seed, number)).tolist()

    assert order(0, 1) == order(0, 1)
    assert len({tuple(order(s, n)) for s in range(3) for n in range(1, 4)}) == 9
