"""The shared training loop: what it restores, keeps, rounds and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run, without
from torch import Tensor

from razor_cli.contract.choices import Towers
from razor_cli.contract.components import swapped
from razor_cli.data.sets import Pairs
from razor_cli.engine.choices import Keep, Optimizer, Schedule
from razor_cli.engine.lab import Lab
from razor_cli.engine.objective import Objective, Step
from razor_cli.engine.train import train
from razor_cli.engine.train_settings import TARGET, Trained, rate, trained_names
from razor_cli.errors import ConfigError
from razor_cli.methods.ga import Ga
from razor_cli.methods.gaft import Gaft

EMPTY = Pairs((), {})


def edit_of(method: Any, sets: Any = None) -> Any:
    return run(method, make_clip(), sets or make_sets())


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[n], b[n]) for n in a)


@pytest.mark.parametrize("changes", [{"lr": 0.0, "weight_decay": 0.0}, {"lr": 0.0}, {"epochs": 0}])
@pytest.mark.parametrize("name", ["ft", "ga", "gaft", "salun", "lotus"])
def test_without_a_rate_or_epochs_nothing_changes(name: str, changes: dict[str, Any]) -> None:
    edit = edit_of(preset(name, **changes))
    assert edit.values == {} and edit.components == []


@pytest.mark.parametrize("name", ["ga", "salun", "lotus"])
def test_nothing_to_forget_changes_nothing(name: str) -> None:
    assert edit_of(preset(name), replace(make_sets(), forget=EMPTY)).values == {}


@pytest.mark.parametrize(
    "field", ["lr", "batch", "momentum", "weight_decay", "epochs", "eps_opt", "warmup_steps"]
)
def test_out_of_range_settings_are_refused_by_their_full_key(field: str) -> None:
    with pytest.raises(ConfigError, match=rf"method\.{field}: -1"):
        Trained(**{field: -1})
    with pytest.raises(ConfigError, match=r"method\.target\.m1: -1"):
        Trained(target={"m1": -1})
    with pytest.raises(ConfigError, match=r"method\.betas"):
        Trained(betas=[0.9, 1.0])


def test_excluded_parameters_and_the_other_tower_stay() -> None:
    edit = edit_of(Ga(lr=1e-3, epochs=1, train=Towers.VISION, exclude=["logit_scale", "ln_"], batch=4))
    assert edit.values and all("visual" in n and "ln_" not in n for n in edit.values)
    with pytest.raises(ConfigError, match=r"method\.exclude"):
        trained_names(make_clip(), Trained(exclude=["no_such_thing"]))


def test_logit_scale_trains_when_asked_and_stays_within_the_clamp() -> None:
    model = make_clip()
    assert "logit_scale" in trained_names(model, Trained(exclude=[]))
    edit = edit_of(
        Gaft(lr=0.5, epochs=1, exclude=[], keep=Keep.LAST, batch=8, optimizer=Optimizer.SGD, weight_decay=0.0)
    )
    value = edit.values.get("logit_scale", model.stored["logit_scale"])
    assert 0 <= float(value) <= 4.61


def test_schedules() -> None:
    cosine = [rate(Trained(lr=2.0, warmup_steps=2), i, 10) for i in range(10)]
    assert cosine[:3] == [1.0, 2.0, 2.0]  # the warm-up ends at the full rate
    assert all(a > b for a, b in pairwise(cosine[2:])) and 0 < cosine[-1] < 0.1
    assert cosine[6] == pytest.approx(1.0)  # half-way between the end of the warm-up and the end
    assert {rate(Trained(lr=2.0, schedule=Schedule.CONST), i, 10) for i in range(10)} == {2.0}
    by_epochs = [rate(Trained(lr=2.0, epochs=4, schedule=Schedule.COSINE_EPOCHS), i, 12) for i in range(12)]
    assert by_epochs[::3] == by_epochs[1::3] == by_epochs[2::3]  # constant within an epoch
    assert by_epochs[::3] == pytest.approx([2.0, 1 + 0.5**0.5, 1.0, 1 - 0.5**0.5])


def test_the_schedule_ends_with_the_methods_own_steps() -> None:
    edit = edit_of(Ga(lr=1e-4, epochs=5, batch=4))
    rates = [e.step_size for e in edit.log]
    assert (
        len(rates) == 5
        and rates[0] > rates[-1]
        and rates[-1] == pytest.approx(rate(Trained(lr=1e-4), 14, 15))
    )


class Exploding(Objective):
    """A loss that is finite in the first epoch and not afterwards."""

    def __init__(self, parameter: Tensor, first: float) -> None:
        self.parameter, self.first = parameter, first

    def epoch(self, number: int, generator: torch.Generator) -> Sequence[Step]:
        factor = self.first if number == 1 else float("nan")
        return [Step(loss=lambda: factor * self.parameter.sum(), pictures=1)]


@pytest.mark.parametrize(("first", "kept"), [(1.0, 1), (float("inf"), 0)])
def test_a_diverging_epoch_is_refused_and_noted(first: float, kept: int) -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(family=model, sets=sets)
    edit = train(lab, Trained(lr=1e-2, epochs=4), Exploding(model.module.visual.proj, first))
    assert (
        edit.components == ["visual.proj"] * kept
    )  # the only tensor with a gradient; zero gradients and decay moved no other
    assert edit.log[-1].action == "refuse" and len(edit.log) == kept + 1
    assert any("training ended in epoch" in n for n in edit.notes)


def test_values_are_those_that_were_scored() -> None:
    """The last epoch's metrics are those of the rounded values, not of the fp32 weights behind them."""
    model, sets = make_clip(torch.bfloat16), make_sets()  # coarse: rounding is seen in the metrics
    lab = Lab(family=model, sets=sets)
    edit = preset("ga", lr=1e-3, epochs=2, keep="last").edit(lab)
    with swapped(model, {n: v.float() for n, v in edit.values.items()}):
        assert lab.board.rescore() == edit.log[-1].after
    assert all(not torch.equal(v, model.stored[n]) for n, v in edit.values.items())


def test_fp32_files_keep_the_chosen_epoch_although_training_goes_on() -> None:
    def values(epochs: int) -> dict[str, Tensor]:
        method = Ga(
            lr=1e-3,
            epochs=epochs,
            batch=12,
            schedule=Schedule.CONST,
            target={**TARGET, "m1": 100.0, "m4_drop": 100.0, "m5": 0.0},
        )
        return run(method, make_clip(torch.float32), make_sets()).values

    assert same(values(1), values(3))  # the first epoch meets this Target, so it is kept


def test_cost_counts_pictures() -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(family=model, sets=sets)
    scored = len(sets.validation.forget) + len(sets.validation.retain)
    preset("gaft", epochs=3, batch=8).edit(lab)
    assert lab.cost.backwards == 3 * (len(sets.forget) + len(sets.retain))
    assert lab.cost.forwards == lab.cost.backwards + 4 * scored  # base and three epochs
    assert lab.cost.evaluations == 3 and lab.cost.seconds > 0


def test_trained_methods_never_look_at_evaluation_pictures() -> None:
    sets = make_sets()
    forbidden = {*sets.evaluation.forget.keys, *sets.evaluation.retain.keys}
    guarded = without(sets, lambda source: source.forbidden.update(forbidden))
    for name in ("ft", "ga", "gaft", "salun", "lotus", "ssd"):
        changes = {} if name == "ssd" else {"epochs": 1}
        assert edit_of(preset(name, **changes), guarded).values is not None
