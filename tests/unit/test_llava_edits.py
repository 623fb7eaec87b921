"""Methods on a LLaVA: what serves a CLIP serves its image tower, through the same seams."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from presets import preset
from tiny_llava import opened
from tiny_world import make_sets

from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit
from razor_cli.engine.lab import Lab
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.names import TOWER


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llava:
    return opened(tmp_path_factory.mktemp("edits") / "plain", min_alignment=0.0)


def edited(model: Llava, name: str, **settings: Any) -> Edit:
    """Run a preset on the model; check that its weights are the same to the bit afterwards."""
    bench: Any = model  # as far as an edit needs a family
    before = {n: p.clone() for n, p in parameters(model).items() if n.startswith(TOWER)}
    edit = preset(name, **settings).edit(Lab(family=bench, sets=make_sets()))
    assert all(torch.equal(v, parameters(model)[n]) for n, v in before.items())
    assert edit.values, f"{name} changed nothing"
    assert all(n.startswith(TOWER) for n in edit.values)
    assert not model.dead(list(edit.values))
    return edit


SLUG: dict[str, Any] = {"search_steps": 3, "criterion": "m1_mean", "criterion_value": 90.0}


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("slug", SLUG),
        ("slug", {**SLUG, "forget_loss": "answer_nll", "retain_loss": "retain_answers"}),
        ("razor", {"max_components": 2, "grow_rounds": 0, "retries": []}),
        ("ga", {"epochs": 1, "exclude": []}),
        ("salun", {"epochs": 1, "exclude": []}),
        ("ssd", {"exclude": []}),
    ],
    ids=["slug", "slug-answers", "razor", "ga", "salun", "ssd"],
)
def test_a_method_edits_what_reaches_the_answers(model: Llava, name: str, settings: dict[str, Any]) -> None:
    edit = edited(model, name, **settings)
    answerer, images = model.answerer, make_sets().forget.load(0, 2)
    asked = [Question(i, "Who is it?") for i in range(2)]

    def said() -> torch.Tensor:
        with torch.no_grad():
            return answerer.nll(answerer.features(answerer.preprocess(images)), asked, ["Ada", "Ada"])

    before = said()
    with edit.change.held(model):  # type: ignore[arg-type]
        assert not torch.equal(said(), before)
    assert torch.equal(said(), before)
