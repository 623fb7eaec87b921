"""The rows of scores.csv: columns, missing values, states, and that names and numbers read back."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from fake_runs import fake_run
from hypothesis import given, settings
from hypothesis import strategies as st

from razor_cli.contract.place import Place
from razor_cli.errors import RunError
from razor_cli.metrics.score import Score
from razor_cli.runs.records import Identity
from razor_cli.runs.rows import read_scores, scores_csv, state_order

ID = "0123456789abcdef"
ISSUED = (
    "run_id",
    "model",
    "family",
    "stand_in",
    "scenario",
    "data",
    "target",
    "method",
    "state",
    "quantization",
    "metric",
    "variant",
    "value",
    "n",
    "ci_low",
    "ci_high",
    "unit",
    "direction",
    "seed",
    "judged_on",
)
IDENTITY = Identity(
    run_id=ID,
    model="clip_tiny",
    family="clip",
    stand_in=True,
    scenario="identity",
    data="portraits",
    target="A",
    method="razor",
    seed=0,
)


def score(**changes: Any) -> Score:
    values: dict[str, Any] = {
        "metric": "m1",
        "variant": "v",
        "value": 1.5,
        "n": 3,
        "ci_low": 1.0,
        "ci_high": 2.0,
        "unit": "%",
    }
    return Score(**(values | {"direction": "down"} | changes))


def test_columns_of_the_scores_are_the_agreed_ones_and_then_the_reason(tmp_path: Path) -> None:
    text = (fake_run(tmp_path).folder / "scores.csv").read_text(encoding="utf-8")
    assert tuple(next(csv.reader(text.splitlines()))) == (*ISSUED, "reason", "attack", "step")
    with pytest.raises(RunError, match="other columns"):
        read_scores(text.replace("ci_low", "low", 1))


def test_missing_value_carries_its_reason_and_no_interval(tmp_path: Path) -> None:
    rows = list(csv.DictReader((fake_run(tmp_path).folder / "scores.csv").open(encoding="utf-8")))
    missing = [r for r in rows if not r["value"]]
    assert {(r["state"], r["metric"]) for r in missing} == {("base", "m3")}
    assert {r["reason"] for r in missing} == {"not computed: there is no drift without an edit"}
    assert {r["reason"] for r in rows if r["value"]} == {""}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_number_that_is_not_finite_is_recorded_as_not_computed(value: float) -> None:
    (row,) = read_scores(scores_csv(IDENTITY, {("edit", "none"): [score(value=value, ci_high=float("inf"))]}))
    assert (row.score.value, row.score.ci_low, row.score.ci_high) == (None, None, None)
    assert row.score.reason == f"not computed: the value is {value!r}"


def test_prefix_is_not_doubled() -> None:
    text = scores_csv(IDENTITY, {("edit", "none"): [score(value=None, reason="not computed: no pictures")]})
    assert text.count("not computed: ") == 1


def test_states_are_an_open_set_of_names_with_an_order() -> None:
    names = ["reseeded", "relearned", "edit", "merged", "base"]
    (*rows,) = read_scores(scores_csv(IDENTITY, {(n, "none"): [score()] for n in names}))
    assert [r.state for r in rows] == names
    assert sorted(names, key=state_order) == ["base", "edit", "reseeded", "relearned", "merged"]
    for wrong in ("", "After it", "2nd"):
        with pytest.raises(RunError, match=f"scores of a state '{wrong}'"):
            scores_csv(IDENTITY, {(wrong, "none"): [score()]})


def test_an_attack_and_its_step_stand_in_columns_of_their_own() -> None:
    places = [
        Place("edit", "none"),
        Place("edit", "none", "relearn", 0),
        Place("edit", "int8", "relearn", 50),
    ]
    rows = read_scores(scores_csv(IDENTITY, {p: [score()] for p in places}))
    assert [Place(r.state, r.quantization, r.attack, r.step) for r in rows] == places


def test_scores_of_format_1_are_read_as_before() -> None:
    lines = scores_csv(IDENTITY, {("edit", "none"): [score()], ("base", "int4"): [score(value=2.0)]})
    former = "".join(f"{line.rsplit(',', 2)[0]}\n" for line in lines.splitlines())
    assert former.splitlines()[0].endswith("judged_on,reason") and read_scores(former) == read_scores(lines)


@settings(max_examples=40, deadline=None)
@given(
    st.floats(allow_nan=False, allow_infinity=False), st.text(st.characters(exclude_categories=["Cs", "Cc"]))
)
def test_numbers_and_names_read_back_exactly(value: float, name: str) -> None:
    (row,) = read_scores(scores_csv(IDENTITY, {("edit", "int8"): [score(value=value, variant=name)]}))
    assert row.score == score(value=value, variant=name) and (row.state, row.quantization) == ("edit", "int8")


def test_carriage_return_in_a_name_does_not_break_its_row() -> None:
    (row,) = read_scores(scores_csv(IDENTITY, {("edit", "none"): [score(variant="a\rb")]}))
    assert row.score == score(variant="a b")
