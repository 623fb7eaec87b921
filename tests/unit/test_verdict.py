import pytest

from razor_cli.errors import ConfigError
from razor_cli.metrics.bounds import Bound, parse_bounds
from razor_cli.metrics.score import Score
from razor_cli.metrics.stats import wilson
from razor_cli.metrics.verdict import Outcome, judge

ACCEPTANCE = {
    "m1_mean": {"metric": "m1", "variant": "dual/mean_of_classes", "at_most": 55},
    "m5": {"metric": "m5", "variant": "retrieval/base", "at_least": 97},
    "m4_drop": {"metric": "m4", "variant": "dual/generic", "drop_at_most": 2},
}


def score(
    metric: str,
    variant: str,
    value: float | None,
    low: float | None = None,
    high: float | None = None,
    n: int = 400,
) -> Score:
    reason = "" if value is not None else "not computed: no pictures"
    return Score(
        metric=metric,
        variant=variant,
        value=value,
        n=n,
        ci_low=low,
        ci_high=high,
        unit="%",
        direction="none",
        reason=reason,
    )


KNOWN = score("m1", "dual/mean_of_classes", 98, 96, 99)  # of an unedited model that knows the target


def outcome(bound: dict[str, object], *scores: Score, base: tuple[Score, ...] = (KNOWN,)) -> Outcome:
    return judge({("edit", "none"): scores, ("base", "none"): base}, parse_bounds({"b": bound})).outcome


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (40, 45, 54.9, "ACCEPTED"),
        (40, 45, 55, "ACCEPTED"),
        (50, 53, 56, "UNDECIDED"),
        (54, 58, 62, "UNDECIDED"),
        (55.1, 60, 65, "REJECTED"),
    ],
)
def test_upper_bound_three_ways(low: float, value: float, high: float, expected: str) -> None:
    assert outcome(ACCEPTANCE["m1_mean"], score("m1", "dual/mean_of_classes", value, low, high)) == expected


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (97.0, 98, 99, "ACCEPTED"),
        (96, 98, 99, "UNDECIDED"),
        (95, 96, 97.5, "UNDECIDED"),
        (90, 95, 96.9, "REJECTED"),
    ],
)
def test_lower_bound_three_ways(low: float, value: float, high: float, expected: str) -> None:
    assert outcome(ACCEPTANCE["m5"], score("m5", "retrieval/base", value, low, high)) == expected


@pytest.mark.parametrize(
    ("low", "value", "high", "expected"),
    [
        (45, 53, 59, "ACCEPTED"),
        (45, 53, 61, "UNDECIDED"),
        (54, 56, 58, "UNDECIDED"),
        (55.5, 57, 58.5, "REJECTED"),
    ],
)
def test_margin_excuses_the_interval_but_never_the_value(
    low: float, value: float, high: float, expected: str
) -> None:
    bound = {**ACCEPTANCE["m1_mean"], "margin": 5}
    assert outcome(bound, score("m1", "dual/mean_of_classes", value, low, high)) == expected


def test_margin_of_a_lower_bound_points_down() -> None:
    bound = {**ACCEPTANCE["m5"], "margin": 2}
    assert outcome(bound, score("m5", "retrieval/base", 97.5, 95.5, 99)) == Outcome.ACCEPTED
    assert outcome(bound, score("m5", "retrieval/base", 96.5, 95.5, 99)) == Outcome.UNDECIDED


def test_drop_prefers_the_paired_score() -> None:
    base = (score("m4", "dual/generic", 98, 96, 99),)
    alone = score("m4", "dual/generic", 98, 96, 99)
    paired = score("m4_drop", "dual/generic/base", 0, -0.5, 0.5)
    assert outcome(ACCEPTANCE["m4_drop"], alone, paired, base=base) == Outcome.ACCEPTED
    assert outcome(ACCEPTANCE["m4_drop"], alone, base=base) == Outcome.UNDECIDED  # -3 to 3 without pairing
    found = judge(
        {("edit", "none"): [alone], ("base", "none"): base}, parse_bounds({"d": ACCEPTANCE["m4_drop"]})
    ).findings[0]
    assert (found.value, found.low, found.high) == (0, -3, 3)
    assert "conservative" in found.line


def test_drop_is_positive_for_damage() -> None:
    base = (score("m4", "dual/generic", 98, 97.5, 98.5),)
    assert (
        outcome(ACCEPTANCE["m4_drop"], score("m4", "dual/generic", 80, 79, 81), base=base) == Outcome.REJECTED
    )
    assert (
        outcome(ACCEPTANCE["m4_drop"], score("m4", "dual/generic", 99.5, 99.4, 99.6), base=base)
        == Outcome.ACCEPTED
    )


def test_drop_reference_is_full_precision_or_the_same_quantization() -> None:
    scores = {
        ("edit", "int4"): [score("m4", "dual/generic", 80, 79.5, 80.5)],
        ("base", "none"): [score("m4", "dual/generic", 98, 97.5, 98.5)],
        ("base", "int4"): [score("m4", "dual/generic", 80, 79.5, 80.5)],
    }
    for against, expected in (("base", Outcome.REJECTED), ("base_q", Outcome.ACCEPTED)):
        assert (
            judge(scores, parse_bounds({"d": {**ACCEPTANCE["m4_drop"], "against": against}})).outcome
            == expected
        )


def test_overall_outcome_is_that_of_the_worst_bound() -> None:
    good, bad = score("m1", "dual/mean_of_classes", 40, 35, 45), score("m5", "retrieval/base", 90, 88, 92)
    fine, open_ = score("m5", "retrieval/base", 99, 98, 100), score("m5", "retrieval/base", 97, 95, 99)
    bounds = parse_bounds({k: ACCEPTANCE[k] for k in ("m1_mean", "m5")})
    for other, expected in ((fine, "ACCEPTED"), (open_, "UNDECIDED"), (bad, "REJECTED")):
        verdict = judge({("edit", "none"): [good, other], ("base", "none"): [KNOWN]}, bounds)
        assert verdict.outcome == expected
        assert len(verdict.reasons) == 2
    both = judge({("edit", "none"): [open_, score("m1", "dual/mean_of_classes", 90, 85, 95)]}, bounds)
    assert both.outcome == Outcome.REJECTED


def test_every_quantization_counts_unless_some_are_named() -> None:
    scores = {
        ("edit", "none"): [score("m1", "dual/mean_of_classes", 40, 35, 45)],
        ("edit", "int4"): [score("m1", "dual/mean_of_classes", 90, 85, 95)],
        ("control", "none"): [score("m1", "dual/mean_of_classes", 99, 98, 100)],
        ("base", "none"): [KNOWN],
    }
    assert judge(scores, parse_bounds({"m1": ACCEPTANCE["m1_mean"]})).outcome == Outcome.REJECTED
    only = parse_bounds({"m1": {**ACCEPTANCE["m1_mean"], "quantizations": ["none"]}})
    assert judge(scores, only).outcome == Outcome.ACCEPTED
    control = parse_bounds(
        {"m1": {"metric": "m1", "variant": "dual/mean_of_classes", "at_least": 95, "state": "control"}}
    )
    assert judge(scores, control).outcome == Outcome.ACCEPTED
    unseen = judge(scores, parse_bounds({"m1": {**ACCEPTANCE["m1_mean"], "quantizations": ["nf4"]}}))
    assert unseen.outcome == Outcome.UNDECIDED
    assert "edit under nf4 was not evaluated" in unseen.reasons[0]


@pytest.mark.parametrize(
    ("scores", "part"),
    [
        ([], "no score m1 dual/mean_of_classes"),
        ([score("m1", "dual/mean_of_class", 1, 0, 2)], "did you mean dual/mean_of_class?"),
        ([score("m1", "dual/mean_of_classes", None)], "not computed: no pictures"),
        ([score("m1", "dual/mean_of_classes", 40, None, None, 1)], "no interval"),
    ],
)
def test_what_is_missing_leaves_it_undecided_with_the_reason(scores: list[Score], part: str) -> None:
    verdict = judge({("edit", "none"): scores}, parse_bounds({"m1": ACCEPTANCE["m1_mean"]}))
    assert verdict.outcome == Outcome.UNDECIDED
    assert part in verdict.reasons[0]


def test_nothing_judged_is_not_accepted() -> None:
    assert judge({}, {}).outcome == Outcome.UNDECIDED
    assert judge({}, parse_bounds(ACCEPTANCE)).outcome == Outcome.UNDECIDED


def test_a_bound_without_variant_takes_the_only_one() -> None:
    bound = {"metric": "others_worst", "at_most": 10}
    assert outcome(bound, score("others_worst", "Elon Musk", 3, 1, 6)) == Outcome.ACCEPTED
    two = score("m1", "multiclass", 1, 0, 2), score("m1", "dual/generic", 1, 0, 2)
    assert outcome({"metric": "m1", "at_most": 55}, *two) == Outcome.UNDECIDED
    dropped = score("others_acc", "macro", 90, 88, 92), score("others_acc_drop", "macro/base", 1, 0.5, 1.5)
    assert outcome({"metric": "others_acc", "drop_at_most": 3}, *dropped) == Outcome.ACCEPTED


def test_line_holds_value_interval_threshold_and_outcome() -> None:
    verdict = judge(
        {("edit", "int8"): [score("m1", "dual/mean_of_classes", 51.25, 46.4, 56.1)]},
        parse_bounds({"m1": ACCEPTANCE["m1_mean"]}),
    )
    assert verdict.reasons == (
        "m1 [edit, int8]: m1 dual/mean_of_classes: 51.25 [46.4, 56.1] (n=400), at most 55: UNDECIDED",
    )


@pytest.mark.parametrize(
    ("n", "expected"), [(40, Outcome.UNDECIDED), (100, Outcome.UNDECIDED), (400, Outcome.ACCEPTED)]
)
def test_how_much_a_perfect_score_proves_depends_on_n(n: int, expected: Outcome) -> None:
    found = wilson(n, n).scaled(100)
    perfect = score("zs_cifar10", "top1", found.value, found.low, found.high, n)
    assert outcome({"metric": "zs_cifar10", "at_least": 97}, perfect) == expected


@pytest.mark.parametrize(
    ("entry", "part"),
    [
        ({"metric": "m11", "at_most": 5}, "unknown metric 'm11'"),
        ({"metric": "m1"}, "exactly one threshold"),
        ({"metric": "m1", "at_most": 5, "at_least": 3}, "exactly one threshold"),
        ({"metric": "m1", "at_mots": 5}, "did you mean at_most"),
        ({"at_most": 5}, "metric is missing"),
        ({"metric": "m1", "at_most": 5, "margin": -1}, "margin >= 0"),
        ({"metric": "m1", "at_most": float("nan")}, "finite threshold"),
        ({"metric": "m1", "at_most": 5, "state": "edited"}, "edit, control, base"),
        ({"metric": "m1", "at_most": "high"}, "acceptance.b"),
    ],
)
def test_impossible_bounds_are_refused(entry: dict[str, object], part: str) -> None:
    with pytest.raises(ConfigError, match=part):
        parse_bounds({"b": entry})


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as error:
        parse_bounds(
            {
                "one": {"metric": "m9", "at_most": 5},
                "two": {"metric": "m1"},
                "three": {"metric": "m1", "at_most": 5},
            }
        )
    assert "acceptance.one" in str(error.value)
    assert "acceptance.two" in str(error.value)
    assert "acceptance.three" not in str(error.value)


def test_bounds_with_defaults_are_plain_values() -> None:
    assert parse_bounds({"b": ACCEPTANCE["m5"]}) == {
        "b": Bound(metric="m5", variant="retrieval/base", at_least=97)
    }
