"""Styles as concepts: parts by object, views of their own, kept among other sources, asked for as styles."""

from __future__ import annotations

from collections import Counter

import pytest
from asks import sets_from

from razor_cli.config.command_line import read
from razor_cli.config.compose import checked
from razor_cli.data.kinds.answered_standin import AnsweredStandIn
from razor_cli.data.sampling import Sizes
from razor_cli.data.sets import ConceptSets
from razor_cli.data.sources.base import SPLITS
from razor_cli.data.sources.canvas import objects, styles
from razor_cli.data.sources.styles import Styles
from razor_cli.errors import ConfigError
from razor_cli.families.llava.losses_answer import questions
from razor_cli.families.llava.naming import prompts_for
from razor_cli.families.llava.settings import AskedMetrics


@pytest.fixture(scope="module")
def sets() -> ConceptSets:
    sizes = Sizes(retain=512, validation_forget=40, evaluation_forget=48, evaluation_retain=100)
    asked = {"pictures": "canvas", "domain": "style", "suites": (), "target": "Noto"}
    return sets_from(kind=AnsweredStandIn, sizes=sizes, **asked)  # type: ignore[arg-type]


def shown_in(source: Styles, split: str) -> set[str]:
    return {p.key.split("/")[2] for p in source.pictures("Noto", split)}


def test_parts_show_different_objects_and_together_all() -> None:
    source = Styles()
    parts = [shown_in(source, split) for split in SPLITS]
    assert [len(p) for p in parts] == [8, 4, 4] and set.union(*parts) == set(objects())
    assert source.concepts() == styles()
    first = source.pictures("Noto", "evaluation")[0]
    assert (first.concept, first.caption) == ("Noto", "An image in Noto style.")
    assert source.load([first])[0].size == (64, 64)


def test_a_style_is_judged_by_objects_that_no_edit_saw(sets: ConceptSets) -> None:
    seen = {p.key.split("/")[2] for p in (*sets.forget.pictures, *sets.validation.forget.pictures)}
    judged = {p.key.split("/")[2] for p in sets.evaluation.forget.pictures}
    assert judged and not judged & seen
    assert sets.domain == "style" and sets.prompts["Noto"] == "An image in Noto style."
    assert sets.class_names[0] == "Noto" and set(sets.class_names) == set(styles())


def test_other_styles_are_no_small_part_of_what_is_kept(sets: ConceptSets) -> None:
    kept = Counter(p.domain for p in sets.retain.pictures)
    assert kept["style"] > 80 and kept["person"] and kept["emoji"]
    assert {p.concept for p in sets.retain.pictures if p.domain == "style"} == set(styles()) - {"Noto"}


def test_pictures_are_asked_for_their_style(sets: ConceptSets) -> None:
    asked = prompts_for(AskedMetrics(), "style")
    assert asked == ("Which style is this?", "In which style is this image?")
    assert set(questions(sets.forget, 0)) == set(asked)
    place = next(i for i, p in enumerate(sets.retain.pictures) if p.domain == "emoji")
    assert not set(questions(sets.retain, place)) & set(asked)


def test_scenario_composes_for_models_that_answer_and_not_for_those_that_compare() -> None:
    found = checked(read(["model=llava_tiny", "scenario=style", "target=Noto"]))
    assert found.scenario.domain == "style" and set(found.scenario.acceptance) >= {"fa", "retain_fa"}
    with pytest.raises(ConfigError, match="scenario=style"):
        checked(read(["model=clip_tiny", "scenario=style", "target=Noto"]))
