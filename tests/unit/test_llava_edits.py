"""Methods on a LLaVA: what serves a CLIP serves its image tower, through the same seams, each by its preset
for models that answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from presets import preset, shipped
from tiny_llava import opened
from tiny_world import make_sets

from razor_cli.contract.components import parameters
from razor_cli.contract.edit import Edit
from razor_cli.contract.family import Board
from razor_cli.engine.lab import Lab
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.kinds import Candidates
from razor_cli.families.llava.names import PROJECTOR, TOWER
from razor_cli.families.llava.settings import AskedMetrics
from razor_cli.families.llava.spec import LlavaSpec

ASKED = AskedMetrics(fa_min_base=0)  # random weights know nobody
LAST: dict[str, Any] = {"epochs": 1, "keep": "last"}
TRAINED = "ft ga ga_kl gaft gdiff lotus me_gd nhl_kl npo_kl relabel salun task_vector".split()
FIXED: dict[str, Any] = {"step": "fixed", "step_size": 0.05, "max_components": 2}
SLUG: dict[str, Any] = {"search_steps": 3, "criterion": "m1_mean", "criterion_value": 90.0}
OF_ANSWERS = {"forget_loss": "answer_nll", "retain_loss": "retain_answers"}
CASES = [
    *((name, LAST) for name in TRAINED),
    ("ssd", {}),
    ("random", {}),
    ("slug", SLUG),
    ("slug", {**SLUG, **OF_ANSWERS}),
    ("slug_clip_criterion", {**SLUG, "criterion": "m1_generic"}),
    ("razor", FIXED),
    ("razor_paper", FIXED),
    ("razor_bounded", {**FIXED, "forget_loss": "answer_generic", "retain_loss": "feature_keep"}),
    ("razor_clip_criterion", FIXED),
]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("edits")


@pytest.fixture(scope="module")
def model(root: Path) -> Llava:
    return opened(root / "plain", min_alignment=0.0)


def edited(model: Llava, name: str, **settings: Any) -> Edit:
    """Run a preset on the model; check that its weights are the same to the bit afterwards."""
    bench: Any = model  # as far as an edit needs a family
    assert model.answerer  # its language model is read
    before = {n: p.clone() for n, p in parameters(model).items()}
    edit = preset(name, "llava", **settings).edit(Lab(family=bench, sets=make_sets(), settings=ASKED))
    assert all(torch.equal(v, parameters(model)[n]) for n, v in before.items())
    assert edit.values, f"{name} changed nothing"
    return edit


def said(model: Llava) -> torch.Tensor:
    """Return what two questions about two pictures are answered with, as far as a name goes."""
    answerer, images = model.answerer, make_sets().forget.load(0, 2)
    asked = [Question(i, "Who is it?") for i in range(2)]
    with torch.no_grad():
        return answerer.nll(answerer.features(answerer.preprocess(images)), asked, ["Ada", "Ada"])


@pytest.mark.parametrize(("name", "settings"), CASES, ids=[f"{n}-{i}" for i, (n, _) in enumerate(CASES)])
def test_a_method_edits_what_reaches_the_answers(model: Llava, name: str, settings: dict[str, Any]) -> None:
    edit = edited(model, name, **settings)
    assert all(n.startswith(TOWER) for n in edit.values)
    assert not model.dead(list(edit.values))
    before = said(model)
    with edit.change.held(model):
        assert not torch.equal(said(model), before)
    assert torch.equal(said(model), before)


@pytest.mark.parametrize("name", ["razor", "slug", "random"])
def test_the_projector_is_edited_where_it_may_be(root: Path, name: str) -> None:
    model = opened(root / "plain", min_alignment=0.0, candidates=Candidates.PROJECTOR)
    settings = {"razor": FIXED, "slug": {**SLUG, "criterion": "m1_mean"}, "random": {}}[name]
    if name == "slug":
        settings = {**settings, **OF_ANSWERS, "criterion": "fa", "criterion_value": 100.0}
    edit = edited(model, name, **settings)
    assert all(n.startswith(PROJECTOR) for n in edit.values)


def test_by_tower_the_projector_comes_behind_the_image_tower(root: Path) -> None:
    model = opened(root / "plain", min_alignment=0.0, candidates=Candidates.VISION_EFFECTIVE_PROJECTOR)
    bench: Any = model
    board: Board = model.board(make_sets(), ASKED, Lab(family=bench, sets=make_sets()).cost, fast=True)
    assert board.base["fa"] == 0
    still = {"step_size": 0.0, "search_steps": 1, "max_components": 1, "grow_rounds": 2, "target.m1": 0.0}
    method = preset("razor_bounded", "llava", stages="by_tower", **still, **OF_ANSWERS)
    edit = method.edit(Lab(family=bench, sets=make_sets(), settings=ASKED))
    grown = [e.component for e in edit.log if e.action == "grow"]
    assert [str(n).startswith("projector") for n in grown] == [False, False, True, True]


def test_presets_aim_at_goals_and_losses_of_a_llava() -> None:
    for name in {n for n, _ in CASES} | {"none"}:
        method = preset(name, "llava")
        assert method.name == name and method.needs <= LlavaSpec.offers
        for key in ("target", "floor", "guide"):
            wanted = {g for g, n in getattr(method, key, {}).items() if n is not None}
            assert wanted <= set(LlavaSpec.goals)
        if name in TRAINED:
            own = {g: n for g, n in method.target.items() if n is not None}
            assert set(own) == {"fa", "retain_fa_drop"}
    by_clip = {n: preset(n, "llava") for n in ("razor_clip_criterion", "slug_clip_criterion")}
    assert by_clip["razor_clip_criterion"].target["fa"] is None
    assert by_clip["slug_clip_criterion"].criterion == "fa_top5"
    assert shipped("slug", "llava")["criterion"] == "fa"
