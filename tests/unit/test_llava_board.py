"""The scoreboard of a step search on a model that answers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from taught_llava import PROMPTS, taught
from tiny_llava import opened
from tiny_world import Noise, make_sets
from torch import Tensor

from razor_cli.contract.choices import Granularity, Towers
from razor_cli.contract.components import Component, parameters
from razor_cli.contract.cost import Cost
from razor_cli.contract.family import Metrics
from razor_cli.engine.search import Aim
from razor_cli.errors import ConfigError
from razor_cli.families.llava.answerer import Question
from razor_cli.families.llava.board import AskedBoard
from razor_cli.families.llava.family import Llava
from razor_cli.families.llava.forced import Trial, margins, trials_of
from razor_cli.families.llava.reading import greedy
from razor_cli.families.llava.settings import AskedMetrics

SETTINGS = AskedMetrics(fa_prompts=list(PROMPTS), search_retain_images=2, search_answers=4)
RUIN = 40.0  # times a matrix's own norm
OWN, OTHERS = 12, 10  # pictures of the target, and of five other names


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Llava:
    return opened(taught(tmp_path_factory.mktemp("board") / "plain"))


def board_of(model: Llava, *, fast: bool = True, **changes: Any) -> AskedBoard:
    return model.board(make_sets(), replace(SETTINGS, **changes), Cost(), fast=fast)


def moved(model: Llava, size: float) -> tuple[dict[str, Tensor], list[Component]]:
    """Return a matrix of the image tower moved by noise of a size relative to its own, and its component."""
    component = next(c for c in model.components(Granularity.TENSOR, Towers.VISION) if "fc1" in c.name)
    (name,) = component.params
    value = parameters(model)[name].detach()
    noise = torch.randn(value.shape, generator=torch.Generator().manual_seed(0))
    return {name: value + size * value.norm() * noise / noise.norm()}, [component]


def test_what_is_known_is_told_and_a_ruined_model_tells_nothing(model: Llava) -> None:
    board = board_of(model)
    assert board.base["fa"] == 100 and board.base["retain_fa"] == 100 and board.base["sure"] > 1
    found = board.trial(*moved(model, RUIN))
    assert found["fa"] < 90 and found["retain_fa"] < 80 and 0 <= found["sure"] < board.base["sure"]
    assert set(found) == set(board.base) >= {"m1", "fa_top1", "others", "util"}


def test_a_trial_leaves_every_bit(model: Llava) -> None:
    board, before = board_of(model), {n: v.clone() for n, v in parameters(model).items()}
    board.trial(*moved(model, 3.0))
    assert all(torch.equal(v, before[n]) for n, v in parameters(model).items())
    assert board.rescore() == pytest.approx(dict(board.base), abs=1e-4)


def test_both_engines_give_the_same_metrics(model: Llava) -> None:
    fast, slow = board_of(model), board_of(model, fast=False)
    assert dict(fast.base) == pytest.approx(dict(slow.base), abs=1e-4)
    for size in (0.3, 3.0):
        one, other = (b.trial(*moved(model, size)) for b in (fast, slow))
        assert one == pytest.approx(dict(other), abs=1e-3)


def test_evaluation_pictures_are_never_looked_at(model: Llava) -> None:
    source = Noise()
    sets = make_sets(source)
    judged = sets.evaluation
    source.forbidden = {*judged.forget.keys, *judged.retain.keys, *sets.forget.keys, *sets.retain.keys}
    board = model.board(sets, SETTINGS, Cost(), fast=True)
    board.rescore()
    allowed = {*sets.validation.forget.keys, *sets.validation.retain.keys}
    assert set(source.loaded) <= allowed and len(set(source.loaded)) > OWN


def test_only_what_is_wanted_is_looked_at(model: Llava) -> None:
    board = board_of(model)
    values, components = moved(model, 0.3)
    counts = {}
    for wanted in ({"fa"}, {"retain_fa"}, {"fa", "retain_fa"}, {"m1"}):
        before = board.cost.forwards, board.cost.evaluations
        found = board.trial(values, components, wanted=wanted)
        counts[frozenset(wanted)] = board.cost.forwards - before[0]
        assert set(found) >= wanted and board.cost.evaluations == before[1] + 1
        if wanted == {"fa"}:
            assert set(found) == {"fa", "sure"}
    assert counts[frozenset({"fa"})] == OWN and counts[frozenset({"retain_fa"})] == OTHERS
    assert counts[frozenset({"fa", "retain_fa"})] == OWN + OTHERS


def test_lost_by_the_others_asks_nothing_about_the_target(model: Llava) -> None:
    board = board_of(model)
    values, components = moved(model, RUIN)
    seen: list[float] = []

    def lost(found: Metrics) -> bool:
        seen.append(found["retain_fa"])
        return found["retain_fa"] < 95

    before = board.cost.forwards
    found = board.trial(values, components, lost=lost)
    assert board.cost.forwards - before <= OTHERS and found["fa"] == 0 and found["m1"] == board.base["m1"]
    assert seen[0] >= found["retain_fa"] and board.cost.evaluations == 1
    assert board.trial(*moved(model, 0.0), lost=lost)["fa"] == board.base["fa"]


def test_goals_name_its_metrics(model: Llava) -> None:
    board = board_of(model)
    target = {"fa": 5.0, "retain_fa_drop": 5.0, "answers_drop": 10.0}  # there are no further pictures
    aim = Aim.of(board, target, {"retain_fa_drop": 8.0})
    assert [(x.metric, x.most, x.slope) for x in aim.forget] == [("fa", 5.0, "sure")]
    assert aim.keep == {"retain_fa": 5.0} and aim.floor == {"retain_fa": 8.0}
    assert not aim.idle and not aim.met(board.base)
    negative = Aim.of(board, {"m1": 5.0}, {})
    assert {x.metric for x in negative.forget} == {"m1", "m1_generic"}


def test_the_clips_view_catches_up_with_what_was_committed_without_it(model: Llava) -> None:
    board, plain = board_of(model), board_of(model, fast=False)
    values, components = moved(model, 3.0)
    (name,) = values
    kept = parameters(model)[name].detach().clone()
    with torch.no_grad():
        parameters(model)[name].copy_(values[name])
    try:
        board.commit(components, wanted={"fa"})
        assert board.current["m1"] == board.base["m1"] and board.current["fa"] != board.base["fa"]
        later = next(c for c in model.components(Granularity.TENSOR, Towers.VISION)[::-1] if "fc2" in c.name)
        change = {later.params[0]: parameters(model)[later.params[0]].detach() * 1.5}
        assert board.trial(change, [later]) == pytest.approx(dict(plain.trial(change, [later])), abs=1e-3)
    finally:
        with torch.no_grad():
            parameters(model)[name].copy_(kept)


def test_a_target_that_is_not_known_is_refused(model: Llava, tmp_path: Path) -> None:
    ignorant = opened(tmp_path / "plain")
    with pytest.raises(ConfigError, match="does not know this name") as caught:
        ignorant.board(make_sets(), SETTINGS, Cost(), fast=True)
    assert caught.value.exit_code == 2 and "metrics.fa_min_base" in str(caught.value)
    assert board_of(model, fa_min_base=100).base["fa"] == 100


def test_margins_tell_what_greedy_decoding_says(model: Llava) -> None:
    answerer, sets = model.answerer, make_sets()
    shown = answerer.features(answerer.preprocess(sets.validation.retain.load()))
    asked = [Question(i, PROMPTS[0]) for i in range(len(shown))]
    said = greedy(answerer, shown, asked, 8, 64)
    for name in ("Ada", "Ben"):
        sure = margins(answerer, shown, [Trial(q, name) for q in asked], 64)
        assert [s.startswith(name) for s in said] == (sure > 0).tolist()


def test_words_of_the_unedited_model_lead_to_the_name(model: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    answerer = model.answerer
    shown = answerer.features(answerer.preprocess(make_sets().validation.forget.load(0, 2)))
    asked = [Question(0, PROMPTS[0]), Question(1, "Which celebrity is in this photo?")]
    monkeypatch.setattr(
        "razor_cli.families.llava.forced.greedy", lambda *_: ["She is  Zoe  Quint, I think"] * 2
    )
    trials = trials_of(answerer, shown, asked, ["Zoe Quint", "Nobody Here"], 8)
    assert trials[0].answer == "She is  Zoe  Quint" and trials[1] == Trial(asked[1], "Nobody Here")
    ids = answerer.wanted(asked[0], trials[0].answer)
    assert answerer.prompts.text(ids[trials[0].first : -1]) == "Zoe  Quint"


def test_further_pictures_have_a_question_of_their_own(model: Llava) -> None:
    sets = make_sets()
    others = sets.validation.retain
    renamed = tuple(replace(p, concept="owl_face") if p.concept == "Fay" else p for p in others.pictures)
    judged = replace(sets.validation, retain=replace(others, pictures=renamed))
    fewer = replace(sets, validation=judged, class_names=tuple(n for n in sets.class_names if n != "Fay"))
    board = model.board(fewer, SETTINGS, Cost(), fast=True)
    assert board.further is not None and len(board.further.pixels) == SETTINGS.search_answers
    assert {t.question.text for t in board.further.trials} == {PROMPTS[0]}
    assert {t.answer for t in board.further.trials} == {"owl face"} and board.base["answers"] == 0
    aim = Aim.of(board, {"fa": 5.0, "answers_drop": 10.0}, {})
    assert aim.keep == {"answers": 10.0}
