"""Verdicts by a judge that names itself in the variants of its scores: bounds hold for them, the judge stands
in every line, and one that does not know the target decides nothing.
"""

from __future__ import annotations

import pytest

from razor_cli.config.settings import Scenario
from razor_cli.errors import ConfigError
from razor_cli.metrics.bounds import parse_bounds
from razor_cli.metrics.judges import named_judge, reading_of
from razor_cli.metrics.score import Score
from razor_cli.metrics.verdict import Outcome, Verdict, judge, summary
from razor_cli.runs.judged import verdict_of

CLIP = "zero_shot:clip-vit-large"
BOUNDS = {
    "ua": {"metric": "ua", "variant": "benchmark", "at_least": 85, "base_at_most": 20},
    "ua_valid": {"metric": "ua_valid", "variant": "benchmark", "at_least": 85, "base_at_most": 20},
    "ira_drop": {"metric": "ira", "variant": "benchmark", "drop_at_most": 5},
}


def score(metric: str, variant: str, value: float, width: float = 2) -> Score:
    return Score(
        metric=metric,
        variant=variant,
        value=value,
        n=96,
        ci_low=value - width,
        ci_high=value + width,
        unit="%",
        direction="up",
    )


def scores_of(base: float, edit: float, drop: float = 0, *, by: str = CLIP, valid: float = 0) -> list[Score]:
    """Return what a state has: UA and its drop, the same of valid pictures, IRA and its drop."""
    at = f"{by}/benchmark" if by else "benchmark"
    found = [score("ua", at, edit), score("ua_drop", f"{at}/base", base - edit)]
    found += [score("ua_valid", at, edit), score("ua_valid_drop", f"{at}/base", valid - edit)]
    return [*found, score("ira", at, 90 - drop), score("ira_drop", f"{at}/base", drop)]


def judged(base: float, edit: float, drop: float = 0, *, by: str = CLIP) -> Verdict:
    before = [*scores_of(base, base, by=by)[:2], *scores_of(0, 10, by=by)[2:]]
    found = {("base", "none"): before, ("edit", "none"): scores_of(base, edit, drop, by=by)}
    return judge(found, parse_bounds(BOUNDS))


@pytest.mark.parametrize(
    ("base", "edit", "drop", "expected"),
    [
        (8, 96, 1, Outcome.ACCEPTED),
        (8, 40, 1, Outcome.REJECTED),
        (8, 96, 20, Outcome.REJECTED),
        (8, 85, 1, Outcome.UNDECIDED),
        (20, 96, 1, Outcome.ACCEPTED),
    ],
)
def test_bounds_hold_for_scores_of_a_named_judge(
    base: float, edit: float, drop: float, expected: Outcome
) -> None:
    assert judged(base, edit, drop).outcome is expected
    assert judged(base, edit, drop, by="").outcome is expected  # and for those of classifiers


@pytest.mark.parametrize("edit", [96.0, 40.0])
def test_judge_that_misses_the_target_before_any_edit_decides_nothing(edit: float) -> None:
    found = judged(21, edit)
    assert found.outcome is Outcome.UNDECIDED
    # valid pictures of the unedited model are few as well: its UA says that the judge misses them
    assert [f.name for f in found.findings if f.outcome is Outcome.UNDECIDED] == ["ua", "ua_valid"]
    for finding in found.findings[:2]:
        assert f"{CLIP} does not know the target well enough: ua of the unedited model is 21.0" in finding.why
        assert "more than 20 (base_at_most)" in finding.line
    assert judged(21, edit, by="").findings[0].why.startswith("the judge does not know the target")


def test_every_line_names_the_judge_and_what_it_finds_in_the_unedited_model() -> None:
    found = judged(8, 96)
    assert found.judge == CLIP and judged(8, 96, by="").judge == ""
    lines = summary(found, parse_bounds(BOUNDS))
    assert lines[0] == (
        f"ACCEPTED  ua: ua by {CLIP} benchmark at least 85; full precision 96.0 [94.0, 98.0]; "
        "the unedited model 8.0 [6.0, 10.0]"
    )
    assert all(CLIP in line and "the unedited model" in line for line in lines)
    assert "by zero_shot" not in "".join(summary(judged(8, 96, by=""), parse_bounds(BOUNDS)))


def test_two_judges_of_one_reading_are_not_mixed_up() -> None:
    both = [*scores_of(8, 96), *scores_of(8, 96, by="zero_shot:other")]
    found = judge({("base", "none"): scores_of(8, 8), ("edit", "none"): both}, parse_bounds(BOUNDS))
    assert found.outcome is Outcome.UNDECIDED and found.judge == ""


def test_missing_score_is_told_once() -> None:
    found = judge({("base", "none"): [], ("edit", "none"): []}, parse_bounds(BOUNDS))
    line = summary(found, parse_bounds(BOUNDS))[0]
    assert line == "UNDECIDED  ua: ua benchmark at least 85; full precision: no score ua benchmark"


def test_recorded_verdict_says_whose_it_is() -> None:
    found = verdict_of({("base", "none"): scores_of(8, 8), ("edit", "none"): scores_of(8, 96)}, BOUNDS)
    assert found is not None and found.by == f" by {CLIP}"
    plain = verdict_of({("base", "none"): scores_of(8, 8, by=""), ("edit", "none"): []}, BOUNDS)
    assert plain is not None and plain.by == ""


def test_only_a_judge_before_a_slash_is_one() -> None:
    assert (
        named_judge(f"{CLIP}/benchmark/all") == CLIP
        and reading_of(f"{CLIP}/benchmark/all") == "benchmark/all"
    )
    for plain in ("benchmark", "benchmark/all", "zero_shot", "zero_shot:x", "paired:zero_shot:x/base", ""):
        assert named_judge(plain) == "" and reading_of(plain) == plain


def test_threshold_of_the_judge_must_be_a_number() -> None:
    with pytest.raises(ConfigError, match="out of range"):
        parse_bounds({"ua": {**BOUNDS["ua"], "base_at_most": float("nan")}})
    assert Scenario(acceptance=BOUNDS).acceptance["ua"]["base_at_most"] == 20
