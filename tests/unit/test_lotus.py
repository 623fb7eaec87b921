"""LoTUS: temperature, targets, stopping (sheet section 6)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run
from torch import Tensor

from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit
from razor_cli.dual.desk import Desk
from razor_cli.dual.losses import soft_cross_entropy
from razor_cli.engine.lab import Lab
from razor_cli.methods.lotus import Prob, Smoothing, targets, temperature


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def edit_of(**changes: Any) -> Edit:
    model, sets = make_clip(), make_sets()
    return run(preset("lotus", **changes), model, sets)


def objective_of(**changes: Any) -> tuple[Smoothing, Desk]:
    method = preset("lotus", **changes)
    model, sets = make_clip(), make_sets()
    desk = Desk(Lab(family=model, sets=sets), method)
    return Smoothing(desk, method), desk


def entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp_min(1e-30).log()).sum(dim=-1)


def test_temperature_follows_the_gap_of_rounded_accuracies() -> None:
    assert temperature(0.0, 1.0, 0.0) == 1.0
    assert temperature(2.0, 0.5, 0.25) == pytest.approx(math.exp(0.5))
    assert temperature(2.0, 0.504, 0.496) == 1.0  # equal after rounding to two decimals
    assert temperature(2.0, 0.2, 0.5) < 1 < temperature(2.0, 0.5, 0.2)
    assert math.isfinite(temperature(1e6, 1.0, 0.0))


@pytest.mark.parametrize("prob", list(Prob))
def test_a_high_temperature_makes_forget_targets_uniform_and_retain_targets_are_one_hot(prob: Prob) -> None:
    teacher = 100 * torch.rand(20, 8, generator=generator())
    soft = targets(teacher, temperature(32.0, 1.0, 0.0), False, prob, generator())
    assert torch.allclose(entropy(soft), torch.full((20,), math.log(8)), atol=1e-4)
    hard = targets(teacher, 1.0, True, prob, generator())
    assert torch.equal(entropy(hard), torch.zeros(20)) and torch.equal(hard.sum(dim=-1), torch.ones(20))


def test_gumbel_targets_are_samples_of_the_teacher() -> None:
    """The share of one-hot samples in each class is the teacher's probability: the hard branch is
    no argmax.
    """
    teacher = torch.tensor([2.0, 1.0, 0.0]).log_softmax(dim=0).expand(20_000, 3)
    share = targets(teacher, 1.0, True, Prob.GUMBEL, generator()).mean(dim=0)
    assert torch.allclose(share, teacher[0].exp(), atol=0.02)
    assert targets(teacher, 1.0, True, Prob.SOFTMAX, generator()).mean(dim=0).tolist() == [1.0, 0.0, 0.0]


def test_softmax_targets_at_temperature_one_give_the_unedited_model_no_forget_gradient() -> None:
    objective, desk = objective_of(prob="softmax", alpha=0.0)
    index = torch.arange(12)
    wanted = targets(objective.teacher[index], 1.0, False, Prob.SOFTMAX, generator())
    live = dict(desk.model.module.named_parameters())
    logits = desk.classes.logits(desk.encode_image(desk.forget.pixels(index)))
    gradient, reference = (
        torch.autograd.grad(soft_cross_entropy(logits, t).mean(), live["visual.proj"], retain_graph=True)[0]
        for t in (wanted, torch.full_like(wanted, 1 / 6))
    )
    assert float(gradient.norm()) < 1e-4 * float(reference.norm())


def test_a_student_below_the_reference_is_not_trained() -> None:
    model, sets = make_clip(), make_sets()
    parameters(model)[
        "visual.proj"
    ].neg_()  # recognises nothing, though its teacher is itself: the reference is validation
    method = preset("lotus", a_ref="validation")
    objective = Smoothing(Desk(Lab(family=model, sets=sets), method), method)
    objective.reference = 1.0
    assert objective.stop(1) is True
    from razor_cli.engine.train import train

    edit = train(Lab(family=model, sets=sets), method, objective)
    assert edit.values == {} and "stopped before epoch 1" in edit.notes[0]
    for gap, ends in (
        (-0.004, False),
        (0.0, False),
        (0.012, True),
    ):  # accuracies count in hundredths: it ends at -0.01
        objective.reference = objective.accuracy + gap
        assert objective.stop(1) is ends


def test_class_mode_aims_at_zero_and_validation_mode_at_the_teachers_accuracy() -> None:
    assert objective_of(a_ref="class")[0].reference == 0.0
    found, desk = objective_of(a_ref="validation")
    board = desk.lab.board.base  # validation pictures of target and others, weighted by their numbers
    assert found.reference == pytest.approx((12 * board["fa_top1"] + 32 * board["others"]) / 4400)


def test_a_share_of_the_retain_pictures_is_used_and_no_other() -> None:
    objective, desk = objective_of(retain_share=0.25)
    assert len(objective.retained) == 8
    objective.stop(1)
    steps = objective.epoch(1, generator())
    assert sum(s.pictures for s in steps) == 12 + 8
    desk.retain.pixels = lambda index: (
        pytest.fail("another picture")
        if not set(index.tolist())
        <= set(  # type: ignore[method-assign]
            objective.retained.tolist()
        )
        else torch.zeros(len(index), 3, 16, 16)
    )
    assert all(bool(torch.isfinite(s.loss())) for s in steps)


@pytest.mark.parametrize(("share", "used"), [(0.3, 9), (0.05, 1), (0.03, 0), (1.0, 32)])
def test_the_share_of_the_retain_pictures_is_cut_off_and_not_rounded(share: float, used: int) -> None:
    objective, _ = objective_of(retain_share=share)  # of 32: 9.6, 1.6, 0.96 and all of them
    assert len(objective.retained) == used


def test_it_forgets_and_logs_its_temperature() -> None:
    edit = edit_of(lr=1e-3, epochs=6, keep="last")
    first, last = edit.log[0], edit.log[-1]
    assert last.after["fa_top1"] < first.before["fa_top1"]
    assert first.after["temperature"] == pytest.approx(
        math.exp(8.0), rel=1e-6
    )  # every forget picture is right before
    assert last.after["temperature"] < first.after["temperature"]
