"""What a verdict asks of its evidence: something to forget, and intervals that have a width."""

import pytest

from razor_cli.metrics.bounds import parse_bounds
from razor_cli.metrics.score import Score
from razor_cli.metrics.verdict import asks_to_forget, judge, summary

FORGOTTEN = {"metric": "m1", "variant": "dual/mean_of_classes", "at_most": 55}
KEPT = {"metric": "m5", "variant": "retrieval/base", "at_least": 97}


def score(metric: str, variant: str, value: float, low: float, high: float, n: int = 400) -> Score:
    return Score(
        metric=metric, variant=variant, value=value, n=n, ci_low=low, ci_high=high, unit="%", direction="none"
    )


GONE = score("m1", "dual/mean_of_classes", 1.7, 0.5, 5.9)
NEVER_KNOWN = "the unedited model does not recognise it on these pictures (base 1.7 [0.5, 5.9])"


KNOWN = score("m1", "dual/mean_of_classes", 98, 96, 99)


def drop(low: float, value: float, high: float, against: str = "base") -> Score:
    return score("m1_drop", f"dual/mean_of_classes/{against}", value, low, high)


@pytest.mark.parametrize(
    ("base", "fallen", "expected"),
    [
        (KNOWN, None, "ACCEPTED"),  # known, so whatever is low now has gone
        (GONE, None, "UNDECIDED"),  # never known
        (score("m1", "dual/mean_of_classes", 60, 50, 70), None, "ACCEPTED"),  # 50 to 70, then 0.5 to 5.9
        (score("m1", "dual/mean_of_classes", 5, 2, 9), None, "UNDECIDED"),  # the intervals overlap ...
        (score("m1", "dual/mean_of_classes", 5, 2, 9), drop(0.5, 3.3, 6), "ACCEPTED"),  # ... pairing tells
        (GONE, drop(-1, 0, 1), "UNDECIDED"),
        (GONE, drop(-6, -4, -1), "UNDECIDED"),  # it rose
        (
            score("m1", "dual/mean_of_classes", 55, 55, 55),
            None,
            "ACCEPTED",
        ),  # fell, from no more than is asked
    ],
)
def test_forgetting_needs_something_to_forget(base: Score, fallen: Score | None, expected: str) -> None:
    scores = {("edit", "none"): [GONE, *([fallen] if fallen else [])], ("base", "none"): [base]}
    verdict = judge(scores, parse_bounds({"gone": FORGOTTEN}))
    assert verdict.outcome == expected
    assert (NEVER_KNOWN[:50] in verdict.reasons[0]) == (expected == "UNDECIDED")


@pytest.mark.parametrize(
    ("base", "after", "expected"), [(100, 50, "ACCEPTED"), (0, 50, "UNDECIDED"), (50, 50, "UNDECIDED")]
)
def test_a_distance_from_chance_is_kept_by_forgetting_only(base: float, after: float, expected: str) -> None:
    """An edit that raises M1 from 0 to 50 brings it to chance too, and forgets nothing."""

    def scores(m1: float) -> list[Score]:
        gap = abs(m1 - 50)
        return [
            score("m1", "dual/generic", m1, m1 - 2, m1 + 2),
            score("m1_chance_gap", "dual/generic", gap, max(0, gap - 2), gap + 2),
        ]

    bound = {"metric": "m1_chance_gap", "variant": "dual/generic", "at_most": 10}
    found = {("base", "none"): scores(base), ("edit", "none"): scores(after)}
    assert judge(found, parse_bounds({"chance": bound})).outcome == expected


def test_reason_stands_in_the_lines_of_the_run() -> None:
    bounds = parse_bounds({"gone": FORGOTTEN})
    scores = {(s, q): [GONE] for s in ("base", "edit") for q in ("none", "int4")}
    (line,) = summary(judge(scores, bounds), bounds)
    assert line.startswith(
        "UNDECIDED  gone: m1 dual/mean_of_classes at most 55; full precision 1.7 [0.5, 5.9]; int4"
    )
    assert line.endswith(f"; {NEVER_KNOWN}") and line.count("recognise") == 1


def test_quantization_that_breaks_the_base_is_no_forgetting_of_it() -> None:
    """What there is to forget is asked of full precision, also for a bound on another width."""
    bounds = parse_bounds({"gone": {**FORGOTTEN, "quantizations": ["int4"]}})
    for full, expected in ((KNOWN, "ACCEPTED"), (GONE, "UNDECIDED")):
        broken = {("edit", "int4"): [GONE], ("base", "int4"): [GONE], ("base", "none"): [full]}
        assert judge(broken, bounds).outcome == expected
    unseen = judge({("edit", "int4"): [GONE]}, bounds)
    assert unseen.outcome == "UNDECIDED" and "base under none was not evaluated" in unseen.reasons[0]


@pytest.mark.parametrize(
    ("bound", "asks"),
    [
        ({"metric": "m1", "at_most": 55}, True),
        ({"metric": "m1_chance_gap", "at_most": 10}, True),
        ({"metric": "mia_auc", "at_most": 60}, True),
        ({"metric": "m1", "at_least": 95}, False),  # of a control: nothing was forgotten
        ({"metric": "m1", "drop_at_most": 2}, False),
        ({"metric": "others_worst", "at_most": 25}, False),  # damage, not forgetting
        ({"metric": "m3", "at_most": 1}, False),
        ({"metric": "base_jsd", "at_most": 1}, False),
        ({"metric": "quality", "at_least": 80}, False),  # a share of what the base knew
        ({"metric": "rec", "at_most": 0.2}, False),
    ],
)
def test_which_bounds_are_kept_by_forgetting(bound: dict[str, object], asks: bool) -> None:
    assert asks_to_forget(parse_bounds({"b": bound})["b"]) is asks


@pytest.mark.parametrize(("state", "expected"), [("base", "ACCEPTED"), ("control", "UNDECIDED")])
def test_the_base_itself_may_be_asked_not_to_know(state: str, expected: str) -> None:
    scores = {(state, "none"): [GONE], ("base", "none"): [GONE]}
    assert judge(scores, parse_bounds({"b": {**FORGOTTEN, "state": state}})).outcome == expected


def test_an_interval_without_width_is_no_proof() -> None:
    for value in (100.0, 90.0):
        flat = score("m5", "retrieval/base", value, value, value, 30)
        verdict = judge({("edit", "none"): [flat]}, parse_bounds({"b": KEPT}))
        assert verdict.outcome == "UNDECIDED" and "without width" in verdict.reasons[0]
    itself = {("base", "none"): [score("m5", "retrieval/base", 100, 100, 100, 30)]}
    assert judge(itself, parse_bounds({"b": {**KEPT, "state": "base"}})).outcome == "ACCEPTED"
