"""Sets of models that draw: who is asked for, with which seeds and templates, and what may not overlap."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any, cast

import pytest
from drawn_places import TARGETS, asked, sets_of

from razor_cli.data import canvas_prompts
from razor_cli.data.answer_sets import FIVE, Seeds
from razor_cli.data.ask import Ask
from razor_cli.data.choices import AnswerSet, Preserve
from razor_cli.data.disjoint import check_shots
from razor_cli.data.kinds.canvas_standin import CanvasStandIn
from razor_cli.data.shots import BENCHMARK, Shots
from razor_cli.data.sources import canvas
from razor_cli.data.wording import KINDS, canvas_words
from razor_cli.errors import ConfigError, RunError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAZOR_CACHE", str(tmp_path_factory.getbasetemp() / "rendered"))


@pytest.mark.parametrize("axis", KINDS)
@pytest.mark.parametrize("held_back", [False, True])
@pytest.mark.parametrize("seed", [0, 7])
def test_no_answer_shares_a_seed_or_a_prompt_with_the_search(axis: str, held_back: bool, seed: int) -> None:
    sets = sets_of(axis, seed, held_back)
    searched, judged = sets.validation, sets.evaluation
    assert not {s.seed for s in searched} & {s.seed for s in judged}
    assert len({(s.prompt, s.seed) for s in judged}) == len(judged)
    if not held_back:
        assert not {s.prompt for s in searched} & {s.prompt for s in judged}
    assert not set(sets.forget.keys) & set(sets.retain.keys)
    assert not any(sets.target in c for c in sets.retain.captions)
    assert all(sets.target in c for c in sets.forget.captions)
    assert not any(sets.target in p for p in sets.retain_prompts)


@pytest.mark.parametrize("axis", KINDS)
def test_sizes_are_those_that_are_asked_for(axis: str) -> None:
    sets = sets_of(axis)
    assert sets.sizes() == {
        "forget": 96,
        "retain": 96,
        "validation_forget": 12,
        "validation_retain": 24,
        "evaluation_forget": 56,
        "evaluation_retain": 98,
    }
    assert sets.sizes().keys() < CanvasStandIn().at_most.keys()
    assert {k: v for k, v in CanvasStandIn().at_most.items() if k != "suite"} == sets.sizes()
    assert sets.sizes() == sets_of(axis, held_back=True).sizes() | {
        k: sets.sizes()[k] for k in ("evaluation_forget", "evaluation_retain")
    }


@pytest.mark.parametrize("axis", KINDS)
def test_every_name_is_judged_about_as_often_and_templates_are_apart(axis: str) -> None:
    sets = sets_of(axis)
    judged = [s for s in sets.evaluation if s.template == BENCHMARK]
    others = Counter(n for s in judged if (n := s.shows(axis)) not in (None, sets.target))
    assert set(others) == set(sets.labels[axis][1:]) and max(others.values()) - min(others.values()) <= 1
    frame = canvas_words().frame(((axis, sets.target),))
    unseen = Counter(s.template for s in sets.evaluation if s.template != BENCHMARK and s.shows(axis))
    assert set(unseen) == set(frame.unseen)
    assert {s.template for s in sets.validation if s.shows(axis)} <= set(frame.trials)
    assert all(s.prompt == canvas_words().prompt(s.labels, frame.benchmark) for s in judged if s.shows(axis))


@pytest.mark.parametrize("axis", ["style", "object"])
def test_partners_are_spread_over_target_and_others(axis: str) -> None:
    sets, partner = sets_of(axis), {"style": "object", "object": "style"}[axis]
    judged = Shots(s for s in sets.evaluation if s.template == BENCHMARK)
    for part in (judged.of(axis, [sets.target]), judged.of(axis, sets.retain_names)):
        counts = Counter(s.shows(partner) for s in part)
        assert set(counts) == set(sets.labels[partner])
        assert max(counts.values()) <= 2 * min(counts.values())


@pytest.mark.parametrize("axis", ["identity", "character"])
def test_half_of_the_others_of_a_person_are_objects_in_styles(axis: str) -> None:
    judged = [
        s for s in sets_of(axis).evaluation if s.template == BENCHMARK and s.shows(axis) != TARGETS[axis]
    ]
    cells = [s for s in judged if s.shows("object")]
    assert len(cells) == len(judged) // 2
    assert {s.shows("style") for s in cells} == set(canvas.styles())
    assert {s.shows("object") for s in cells} == set(canvas.objects())


def test_answer_set_is_every_theme_with_every_object_at_the_same_five_seeds() -> None:
    sets = sets_of("style", answer_set=AnswerSet.ANSWER_SET)
    cells = {(s.shows("style"), s.shows("object")) for s in sets.evaluation}
    assert len(sets.evaluation) == 5 * len(cells) == 5 * 6 * 16
    assert {s.prompt: [x.seed for x in sets.evaluation if x.prompt == s.prompt] for s in sets.evaluation} == {
        canvas_prompts.cell_prompt(str(a), str(b)): list(FIVE) for a, b in cells
    }
    assert not {s.seed for s in sets.validation} & set(FIVE)
    assert {s.template for s in sets.evaluation} == {BENCHMARK}


def test_slugs_own_set_has_ten_of_both_and_one_of_each_partner() -> None:
    sets = sets_of("object", answer_set=AnswerSet.SLUG_QUICK)
    own = sets.evaluation.of("object", ["Cats"])
    alone = [s for s in sets.evaluation if not s.shows("object")]
    assert (len(own), len(sets.evaluation)) == (10, 10 + 10 + 6)
    assert {s.prompt for s in alone} == {f"A painting in {name} style" for name in canvas.styles()}
    assert all(s.prompt == f"A Cats in {s.shows('style')} style" for s in own)
    assert {s.template for s in sets.evaluation} == {"slug_quick"}


def test_a_set_of_objects_in_styles_is_refused_for_a_person() -> None:
    data = CanvasStandIn(answer_set=AnswerSet.ANSWER_SET)
    ask = asked("identity", "Elon Musk", stand_in=True)
    with pytest.raises(ConfigError, match=r"data\.answer_set=answer_set.*identity"):
        data.sets(ask)
    assert ["data.answer_set" in p.what for p in data.problems(ask)] == [True]


def test_a_runs_seed_draws_others_unless_the_data_has_its_own() -> None:
    seeds = [{s.seed for s in sets_of("style", seed).evaluation} for seed in (0, 1)]
    assert not seeds[0] & seeds[1]
    held = [sets_of("style") for _ in range(2)]
    assert held[0].fingerprints() == held[1].fingerprints()
    ask = asked("style", "Noto", stand_in=True)
    own = [CanvasStandIn(seed=3).sets(replace(ask, seed=s)).fingerprints() for s in (0, 1)]
    assert own[0] == own[1]


def test_seeds_are_given_once_and_say_what_they_are_for() -> None:
    given = Seeds(0)
    found = {
        role: [given.next("p", role) for _ in range(200)] for role in ("evaluation", "validation", "forget")
    }
    assert len({s for part in found.values() for s in part}) == 600
    assert {role: {s % 4 for s in part} for role, part in found.items()} == {
        "evaluation": {0},
        "validation": {1},
        "forget": {2},
    }
    assert all(0 <= s < 2**31 and s not in FIVE for part in found.values() for s in part)
    assert Seeds(0).next("p", "forget") == found["forget"][0] != Seeds(1).next("p", "forget")


def test_what_overlaps_is_refused() -> None:
    sets = sets_of("style")
    twice = Shots((*sets.evaluation, sets.evaluation[0]))
    for changed, what in (
        ({"evaluation": sets.validation}, "validation and evaluation share"),
        ({"retain": sets.forget}, "forget and retain share"),
        ({"evaluation": twice}, "asks for one picture twice"),
    ):
        with pytest.raises(RunError, match=what):
            check_shots(replace(sets, **changed))


def test_near_names_are_listed_given_or_found_by_the_text_encoder() -> None:
    assert sets_of("object").near == ("Dogs", "Rabbits")
    assert sets_of("object", n_near=1).near == ("Dogs",)
    assert sets_of("object", retain_near=["sea", "TREES"]).near == ("Sea", "Trees")
    lengths = {"Cats": [1.0, 0.0], "Flame": [0.9, 0.1], "Trees": [0.8, 0.4]}
    ask = asked(
        "object",
        "Cats",
        stand_in=True,
        embed=lambda prompts: [next((v for n, v in lengths.items() if n in p), [0.0, 1.0]) for p in prompts],
    )
    found = CanvasStandIn(retain_near=["found"]).sets(ask)
    assert found.near == ("Flame", "Trees") and "by the text embedding" in found.notes[0]
    with pytest.raises(ConfigError, match="no model is loaded here"):
        CanvasStandIn(retain_near=["found"]).sets(asked("object", "Cats", stand_in=True))
    with pytest.raises(ConfigError, match=r"data\.retain_near='Catz'.*no such object") as refused:
        sets_of("object", retain_near=["Catz"])
    assert refused.value.fix is None or "Bats" not in refused.value.fix


def test_words_decide_the_fingerprint() -> None:
    plain = sets_of("style").fingerprints()
    for changed in (
        sets_of("style", anchor="x"),
        sets_of("style", preserve=Preserve.ALL),
        sets_of("style", n_near=1),
    ):
        assert changed.fingerprints()["words"] != plain["words"]
    more = sets_of("style", n_unseen=18).fingerprints()
    assert more["evaluation"] != plain["evaluation"] and more["validation"] == plain["validation"]


def test_forget_pictures_are_views_of_the_target_and_load() -> None:
    sets = sets_of("style", n_forget=20, n_retain=20)
    assert {p.concept.split("/")[0] for p in sets.forget.pictures} == {"Noto"}
    assert len({(p.key, p.view) for p in sets.forget.pictures}) == 20
    alone = [c for c in sets_of("style").retain.captions if "style" not in c]
    assert len(alone) == 24 and set(alone) <= {canvas_prompts.object_prompt(o) for o in canvas.objects()}
    people = sets_of("identity", n_forget=3, n_retain=6)
    assert len(people.retain.load()) == 6 and people.forget.load()[0].mode == "RGB"


def test_spared_objects_are_those_with_another_icon() -> None:
    spared = sets_of("style").spared
    assert "Flame" not in spared["object"] and "Cats" in spared["object"] and len(spared["style"]) == 6


@pytest.mark.parametrize(
    ("axis", "target", "fix"),
    [
        ("style", "Notto", "did you mean Noto"),
        ("style", "Cats", 'scenario=object target="Cats"'),
        ("object", "Elon Musk", 'scenario=identity target="Elon Musk"'),
        ("identity", "Elon Mask", "did you mean Elon Musk"),
        ("character", "zzz", "target="),
    ],
)
def test_an_unknown_name_is_answered_with_near_ones(axis: str, target: str, fix: str) -> None:
    ask = asked(axis, target, stand_in=True)
    (problem,) = CanvasStandIn().problems(ask)
    assert fix in str(problem.fix) and problem.found == target and "no such" in problem.what
    with pytest.raises(ConfigError, match="no such"):
        CanvasStandIn().sets(ask)


def test_a_model_of_real_pictures_is_told_what_shows_it_its_own() -> None:
    problems = [
        p.message() for p in CanvasStandIn().problems(Ask(target="Noto", axis="style", stand_in=False))
    ]
    assert len(problems) == 1 and "data=generated" in problems[0]


@pytest.mark.parametrize("name", ["n_forget", "n_evaluation_retain", "n_unseen"])
def test_sizes_below_one_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"data\.{name} must be at least"):
        CanvasStandIn(**cast(Any, {name: 0}))
