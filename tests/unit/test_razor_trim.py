"""Trimming a finished edit, and renewing gradients: what the recommended preset adds to the paper's loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from presets import preset
from tiny_world import make_clip, make_sets, run

from razor_cli.config.quantization import Quantization
from razor_cli.contract.components import parameters, swapped
from razor_cli.contract.edit import Edit
from razor_cli.contract.place import Key
from razor_cli.engine.cache import TensorCache
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.engine.lab import Lab
from razor_cli.families.clip.exam import Answers, ClipExam
from razor_cli.families.clip.family import Clip
from razor_cli.families.clip.settings import Metrics

SETS = make_sets()
EASY = {
    "target.m1": 60.0,
    "target.m5": 0.0,
    "target.m4_drop": 100.0,
    "floor.m5": 0.0,
    "floor.m4_drop": 100.0,
    "floor.others_drop": 100.0,
    "search_return": "largest_stable",
    "selector": "phi",
    "forget_loss": "concept_uniform",
}


def razor(model: Clip, **settings: Any) -> Edit:
    return run(preset("razor", **(EASY | settings)), model, SETS)


@pytest.fixture(scope="module")
def pair() -> tuple[Clip, Edit, Edit]:
    model = make_clip(torch.float32)
    return model, razor(model, trim_steps=0), razor(model, trim_steps=6)


def test_a_trimmed_edit_is_a_share_of_the_whole_one(pair: tuple[Clip, Edit, Edit]) -> None:
    model, whole, trimmed = pair
    live = parameters(model)
    (event,) = [e for e in trimmed.log if e.action == "trim"]
    share = float(event.note.split()[3])
    assert 0 < share < 1 and trimmed.components == whole.components
    for name, value in whole.values.items():
        expected = live[name] + share * (value - live[name])
        assert torch.allclose(trimmed.values[name], expected, rtol=1e-3, atol=1e-6)


def test_a_trimmed_edit_still_meets_the_target_and_less_would_not(pair: tuple[Clip, Edit, Edit]) -> None:
    model, whole, trimmed = pair
    board = Lab(family=model, sets=SETS).board
    live = {n: v.clone() for n, v in parameters(model).items()}
    (event,) = [e for e in trimmed.log if e.action == "trim"]
    share = float(event.note.split()[3])
    forgotten = []
    for factor in (share, share - 2 * 0.5**6):
        values = {n: live[n] + factor * (v - live[n]) for n, v in whole.values.items()}
        with swapped(model, values):
            found = board.rescore()
        forgotten.append(max(found["m1"], found["m1_generic"]) <= EASY["target.m1"])
    assert forgotten == [True, False]


def test_an_edit_that_misses_its_target_is_not_trimmed() -> None:
    edit = razor(
        make_clip(torch.float32),
        target={"m5": 100.0, "m1": 0.0, "m4_drop": 0.0},
        grow_rounds=0,
        max_components=1,
        step_size=1e-6,
    )
    assert not [e for e in edit.log if e.action == "trim"]


def test_a_refused_step_costs_no_new_gradient_and_another_loss_one_of_the_forget_set() -> None:
    model = make_clip(torch.float32)
    impossible = {
        "floor.m5": 100.0,
        "floor.m4_drop": 0.0,
        "target.m1": 0.0,
        "search_return": "smallest_sufficient",
    }
    settings = {**EASY, **impossible, "target.m5": 100.0, "grow_rounds": 3, "step_size": 1e6}
    edit = run(preset("razor", **settings), model, SETS)
    assert not edit.values and [e for e in edit.log if e.action == "refuse"]
    assert edit.cost.backwards == len(SETS.forget) + len(
        SETS.retain
    )  # one pass, though gradients were asked for at every step
    edit = run(preset("razor", **(settings | {"forget_loss": "cosine"})), model, SETS)
    assert not edit.values and [e.action for e in edit.log].count("retry") == 5
    assert edit.cost.backwards == 2 * len(SETS.forget) + len(
        SETS.retain
    )  # once more for the attempts with the head's loss


def test_the_unedited_model_is_evaluated_once_per_width(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, cache, settings = make_clip(), TensorCache(tmp_path), Quantization(schemes=["none", "int8"])
    name = model.quantizable().linear["vision"][0]
    changes = {"base": Weights(), "edit": Weights(values={name: parameters(model)[name] * 1.01})}

    def evaluated() -> dict[Key, Answers]:
        exam = model.exam(SETS, Metrics(), cache, lambda _: None)
        return dict(Evaluator(family=model, exam=exam, settings=settings).states(changes))

    first = evaluated()
    encoded: list[str] = []
    original = ClipExam.embeddings
    monkeypatch.setattr(
        ClipExam, "embeddings", lambda self, tower: encoded.append(tower) or original(self, tower)
    )
    second = evaluated()
    assert len(encoded) == 2, "only the edit is encoded again"
    for key, before in first.items():
        assert torch.equal(before.reference.retain_cosine, second[key].reference.retain_cosine)
    whole, coarse = (first["base", scheme].reference.retain_cosine for scheme in settings.schemes)
    assert not torch.equal(whole, coarse)
