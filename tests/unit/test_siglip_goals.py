"""What models trained with the sigmoid loss are searched and judged by: the neutral prompt and all names in
place of the mean prompt, unless somebody says otherwise.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from presets import preset
from siglip_folders import make_siglip, siglip_folder
from tiny_world import OTHERS, TARGET, Noise, make_sets, run

from razor_cli.config import command_line, compose
from razor_cli.config.check import check
from razor_cli.config.fitted import fit_method, fit_scenario
from razor_cli.config.quantization import Quantization
from razor_cli.config.settings import Scenario, composed, resolved
from razor_cli.data.sets import ConceptSets, Judged, Pairs
from razor_cli.data.sources.base import Picture
from razor_cli.dual.goals import SIGMOID
from razor_cli.engine.changes import Weights
from razor_cli.engine.evaluation import Evaluator
from razor_cli.families.clip.files import Library
from razor_cli.families.clip.spec import ClipSpec
from razor_cli.grid.job import numbers_of
from razor_cli.grid.points import settled
from razor_cli.methods.razor import Razor
from razor_cli.report.layout import Block, layout_of
from razor_cli.runs.judged import verdict_of

MEAN = {"metric": "m1", "variant": "dual/mean_of_classes", "at_most": 55}
NAMES = {**MEAN, "variant": "multiclass"}
MODEL = "model=siglip_tiny"


def asked(*words: str) -> Any:
    return compose.checked(command_line.read(list(words)))


def targets(*words: str) -> dict[str, float | None]:
    """Return the goals on M1 of a command line, by name."""
    return {goal: n for goal, n in asked(*words).method.target.items() if goal.startswith("m1")}


@pytest.mark.parametrize(
    "method", ["razor", "razor/paper", "razor/alg1", "ga", "npo_kl", "salun", "lotus/class"]
)
def test_every_search_looks_at_the_neutral_prompt_and_all_names(method: str) -> None:
    before, now = targets("model=clip_tiny", f"method={method}"), targets(MODEL, f"method={method}")
    assert before.keys() == {"m1"} and now == dict.fromkeys(("m1_generic", "m1_multiclass"), before["m1"])


@pytest.mark.parametrize("scenario", ["scenario=identity", "scenario=object target=cat"])
def test_the_bound_on_the_mean_prompt_gives_way_to_one_on_all_names(scenario: str) -> None:
    before = asked("model=clip_tiny", *scenario.split()).scenario.acceptance
    now = asked(MODEL, *scenario.split()).scenario.acceptance
    assert before["m1_mean"] == MEAN and now["m1_multiclass"] == NAMES
    assert {n: b for n, b in before.items() if n != "m1_mean"} == {
        n: b for n, b in now.items() if n != "m1_multiclass"
    }


def test_a_clip_keeps_what_its_files_say() -> None:
    request = command_line.read(["model=clip_tiny"])
    written, experiment = compose.compose(request), compose.checked(request)
    assert experiment.model.instead is None  # type: ignore[attr-defined]
    assert experiment.method.target == written.method.target  # type: ignore[attr-defined]
    assert experiment.scenario.acceptance == written.scenario.acceptance


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["method.target.m1=40"], {"m1": 40}),
        (["method.target={m1: 40}"], {"m1": 40}),
        (["method.target.m1=null"], {"m1": None}),
        (["method.target.m1_generic=10"], {"m1_generic": 10, "m1_multiclass": 30}),
        (["method.target.m1_mean=10"], {"m1_generic": 30, "m1_multiclass": 30, "m1_mean": 10}),
    ],
)
def test_a_goal_that_is_typed_wins(words: list[str], wanted: dict[str, Any]) -> None:
    assert targets(MODEL, *words) == wanted
    _, (job,), refused = settled([MODEL, *words], "", [{"target": ["Taylor Swift"]}], None)
    assert not refused and {n: v for n, v in job.experiment.method.target.items() if "m1" in n} == wanted


@pytest.mark.parametrize(
    ("word", "wanted"),
    [
        ("scenario.acceptance.m1_mean.at_most=60", {"m1_mean": {**MEAN, "at_most": 60}}),
        ("+scenario.acceptance.m1_multiclass={metric: m1, variant: multiclass, at_most: 10}",
         {"m1_multiclass": {**NAMES, "at_most": 10}}),
        ("scenario.acceptance={m1_mean: {metric: m1, variant: dual/mean_of_classes, at_most: 55}}",
         {"m1_mean": MEAN}),
    ],
)  # fmt: skip
def test_a_bound_that_is_typed_wins(word: str, wanted: dict[str, Any]) -> None:
    found = asked(MODEL, word).scenario.acceptance
    assert {n: dict(b) for n, b in found.items() if n in ("m1_mean", "m1_multiclass")} == wanted


def test_values_of_a_grid_win() -> None:
    block = {"model": ["siglip_tiny"], "method.target.m1": [40], "target": ["Taylor Swift"]}
    _, (job,), refused = settled([], "mine", [block], None)
    assert not refused and job.experiment.method.target["m1"] == 40


@pytest.mark.parametrize("words", [[], ["method.target.m1=40", "scenario.acceptance.m1_mean.at_most=60"]])
def test_recorded_settings_are_what_was_searched_and_judged_by_and_read_back_the_same(
    words: list[str],
) -> None:
    experiment = asked(MODEL, *words)
    said = resolved(experiment)
    assert said["method"]["target"] == experiment.method.target
    assert said["scenario"]["acceptance"] == experiment.scenario.acceptance
    again = check(composed(experiment), typed=experiment.overrides)
    assert resolved(again) == said


def test_a_goal_or_bound_that_is_there_already_is_not_overwritten() -> None:
    razor = Razor(target={"m1": 30.0, "m1_generic": 10.0, "m5": 98.0})
    assert fit_method(razor, SIGMOID, ()).target == {"m1_generic": 10.0, "m1_multiclass": 30.0, "m5": 98.0}
    own = Scenario(acceptance={"m1_mean": MEAN, "m1_multiclass": {**NAMES, "at_most": 5}})
    assert fit_scenario(own, SIGMOID, ()).acceptance == {"m1_multiclass": {**NAMES, "at_most": 5}}


def test_the_settings_know_which_models_have_a_bias(tmp_path: Path) -> None:
    def sigmoid(architecture: str) -> bool:
        return ClipSpec(stand_in=False, library=Library.OPEN_CLIP, architecture=architecture).sigmoid

    assert sigmoid("ViT-B-16-SigLIP2") and sigmoid("nllb-clip-base-siglip")
    assert not sigmoid("ViT-B-32") and not sigmoid("of-nobody")
    folder = siglip_folder(tmp_path / "siglip")
    assert ClipSpec(stand_in=False, library=Library.HF, weights=str(folder)).sigmoid
    assert not ClipSpec(stand_in=False, library=Library.HF, weights=str(tmp_path)).sigmoid


def test_a_report_and_a_line_of_a_sweep_show_what_the_verdict_is_by() -> None:
    scores = [
        SimpleNamespace(metric="m1", variant=v, value=n)
        for v, n in (("dual/mean_of_classes", 100.0), ("multiclass", 25.0))
    ]
    rows = [SimpleNamespace(score=s, state="edit", quantization="none") for s in scores]
    for model, shown, heading in (
        (MODEL, 25.0, "M1 all names"),
        ("model=clip_tiny", 100.0, "M1 mean prompt"),
    ):
        record = SimpleNamespace(family="clip", settings=resolved(asked(model)))
        assert numbers_of(SimpleNamespace(scores=rows, record=record)) == {"M1": shown}  # type: ignore[arg-type]
        layout = layout_of("clip", record.settings)
        assert layout and isinstance(block := layout.parts[0], Block)
        assert [r.heading for r in block.readings] == [heading, "M1 generic", "M2 similarity"]


class Many(Noise):
    """So many pictures that intervals leave no bound open."""

    def pictures(self, concept: str, split: str) -> list[Picture]:
        keys = (f"{concept}/{split}/{i}" for i in range(100))
        return [Picture(key=key, concept=concept, domain=self.domain) for key in keys]


def many() -> ConceptSets:
    source = Many()
    shown = [p for concept in OTHERS for p in source.pictures(concept, "evaluation")]
    forget = Pairs(tuple(source.pictures(TARGET, "evaluation")[:60]), {source.domain: source})
    judged = Judged(forget=forget, retain=Pairs(tuple(shown), {source.domain: source}))
    return replace(make_sets(), evaluation=judged)


@pytest.mark.parametrize(("method", "decision"), [("razor", "ACCEPTED"), ("none", "REJECTED")])
def test_an_edit_that_forgets_is_accepted_and_none_is_not(method: str, decision: str) -> None:
    experiment, model, sets = asked(MODEL), make_siglip(), many()
    chosen = replace(experiment.method, retries=()) if method == "razor" else preset("none")
    edit = run(chosen, model, sets)
    exam = model.exam(sets, experiment.metrics, None, lambda _: None)
    states = {"base": Weights(values={}), "edit": edit.change}
    quantization = Quantization(schemes=["none"])
    found = dict(Evaluator(family=model, exam=exam, settings=quantization).states(states))
    scores = exam.scores(found, 0)
    verdict = verdict_of(scores, experiment.scenario.acceptance)
    assert verdict and verdict.decision == decision
    assert any("mean prompt say nothing" in note for note in exam.notes)
