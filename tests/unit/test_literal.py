"""The literal preset of RAZOR is literal (equation 4, Algorithms 1 and 2); others say where they depart."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_sets, run
from torch import Tensor

from razor_cli.contract.edit import Edit
from razor_cli.contract.method import GradientPlan
from razor_cli.dual.losses import info_nce
from razor_cli.engine.lab import Lab
from razor_cli.errors import ConfigError
from razor_cli.families.clip.family import Clip
from razor_cli.tables.flips import flipped, preset_settings

SETS = make_sets()
DEPARTURES: dict[str, Any] = {
    "max_components": 8,
    "mismatch_at": "stage",
    "must_improve": True,
    "early_stop": True,
    "retain_batch": 128,
}
MET: dict[str, Any] = {"target.m1": 100.0, "target.m5": 0.0, "target.m4_drop": 100.0}


def edit(model: Clip, base: str = "razor_paper", **settings: Any) -> Edit:
    return run(preset(base, **settings), model, SETS)


def test_the_bounded_preset_departs_from_the_literal_one_in_five_places() -> None:
    assert flipped(preset_settings("razor_bounded"), preset_settings("razor_paper")) == DEPARTURES


@pytest.mark.parametrize("name", ["razor", "razor_alg1", "razor_anchor"])
def test_presets_that_begin_from_the_bounded_one_keep_its_departures(name: str) -> None:
    settings = preset_settings(name)
    assert {k: settings[k] for k in DEPARTURES} == DEPARTURES


def whole(model: Clip, pixels: Tensor, tokens: Tensor) -> dict[str, Tensor]:
    """Return the gradient of equation 4 over all pairs given, by plain autograd without the engine."""
    params = {n: p for n, p in model.module.named_parameters() if n != "logit_scale"}
    loss = info_nce(model.encode_image(pixels), model.encode_text(tokens), model.scale)
    return dict(zip(params, torch.autograd.grad(loss, list(params.values())), strict=True))


@pytest.mark.parametrize("chunk", [5, 128])
@pytest.mark.parametrize("sample", [None, 20])
def test_the_retain_loss_sums_over_all_pairs_in_memory_of_a_part(
    clip32: Clip, chunk: int, sample: int | None
) -> None:
    plan = GradientPlan(retain_batch=preset("razor_paper").plan.retain_batch, chunk=chunk)
    _, found = Lab(family=clip32, sets=SETS).gradients(plan, sample=sample)
    pairs = SETS.retain.head(sample)
    expected = whole(clip32, clip32.preprocess(pairs.load()), clip32.tokenize(pairs.captions))
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-3, atol=1e-6)
    _, parts = Lab(family=clip32, sets=SETS).gradients(GradientPlan(retain_batch=8))
    apart = [
        float((parts[n] - found[n]).norm() / found[n].norm()) for n in ("visual.proj", "text_projection")
    ]
    assert min(apart) > 1e-2, "batches of eight have other negatives"


def test_no_bound_on_the_batch_is_no_number() -> None:
    assert preset("razor_bounded", retain_batch=None).retain_batch is None
    for value in (0, 1, 65537):
        with pytest.raises(ConfigError, match=r"method\.retain_batch"):
            preset("razor_bounded", retain_batch=value)


def test_the_literal_preset_moves_every_chosen_component_before_it_looks_at_the_target(clip: Clip) -> None:
    found = edit(clip, tau=0.0, search_steps=1, **MET)
    chosen = [e.component for e in found.log if e.action == "select"]
    stepped = [e.component for e in found.log if e.action in {"apply", "refuse"}]
    assert len(chosen) > DEPARTURES["max_components"] and stepped == chosen
    assert not [e for e in found.log if e.action == "grow"]


def test_the_literal_preset_takes_steps_that_score_no_better(clip: Clip) -> None:
    settings: dict[str, Any] = {
        "forget_direction": "descend",
        "grow_rounds": 0,
        "floor.m5": 0.0,
        "floor.m4_drop": 100.0,
    }
    literal, bounded = (
        edit(clip, must_improve=must, lambda_mismatch=0.0, lambda_retain=0.0, **settings)
        for must in (False, True)
    )  # steps that raise the similarity of the target
    assert [e.action for e in literal.log if e.action in {"apply", "refuse"}].count("apply") > len(
        [e for e in bounded.log if e.action == "apply"]
    )
