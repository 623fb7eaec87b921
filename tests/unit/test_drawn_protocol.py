"""UA, IRA, CRA and what goes with them, against numbers counted by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from drawn_worlds import (
    OBJECTS,
    OTHER,
    PEOPLE,
    SEEDS,
    STYLES,
    cells,
    changed,
    people,
    protocol_of,
    sets_of,
)

from razor_cli.data.shots import DrawnSets
from razor_cli.families.diffusion.protocol import REJECT
from razor_cli.families.diffusion.scoring import Scorer
from razor_cli.metrics.bounds import parse_bounds
from razor_cli.metrics.score import Score
from razor_cli.metrics.stats import wilson
from razor_cli.metrics.verdict import Outcome, judge

CELL = len(SEEDS)
Found = dict[tuple[str, str], Score]


def scores_of(sets: DrawnSets, said: Any = None, base: Any = None, edit: Any = None) -> Found:
    """Return all scores of one state by metric and variant."""
    protocol = protocol_of(sets)
    base = protocol.wanted if base is None else base
    now = Scorer(
        protocol=protocol, said=base if said is None else said, against={"base": base, "base_q": None}
    )
    found = [*now.forgetting(), *now.keeping(), *now.names(), *now.recovery(edit)]
    assert len({(s.metric, s.variant) for s in found}) == len(found)
    return {(s.metric, s.variant): s for s in found}


def value(found: Found, metric: str, variant: str = "benchmark") -> float:
    """Return a score's value, which must be there."""
    score = found[metric, variant]
    assert score.value is not None, score.reason
    return score.value


def rows(sets: DrawnSets, **labels: str) -> list[int]:
    """Return the evaluation shots that show all of these."""
    return [i for i, s in enumerate(sets.evaluation) if all(s.shows(k) == n for k, n in labels.items())]


def test_unedited_model_knows_everything() -> None:
    found = scores_of(sets_of("style", "noto", cells(), near=("mono",)))
    assert [value(found, m) for m in ("ua", "ua_valid", "rejects")] == [0, 0, 0]
    assert [value(found, m) for m in ("ira", "cra", "near")] == pytest.approx([100, 100, 100])
    assert found["ua", "benchmark"].n == len(OBJECTS) * CELL
    assert found["ira", "benchmark"].n == found["cra", "benchmark"].n == 3 * len(OBJECTS) * CELL
    assert found["cra", "benchmark/all"].n == 4 * len(OBJECTS) * CELL
    assert (found["ira_drop", "benchmark/base"].ci_low, found["ira_drop", "benchmark/base"].ci_high) == (0, 0)
    assert found["ira_drop", "benchmark/base_q"].value is None


def test_style_by_hand() -> None:
    """Of 6 pictures of the target 4 are unlearned, 1 of them without its object; of 18 others 3 are lost in
    two styles of unequal size, and an object is lost in one of the target's and one of the others.
    """
    sets = sets_of("style", "noto", cells(), near=("mono",))
    base = protocol_of(sets).wanted
    own, mono, crayon = (rows(sets, style=s) for s in ("noto", "mono", "crayon"))
    said = changed(base, "style", dict.fromkeys(own[:3], 1) | {own[3]: REJECT})
    said = changed(said, "style", {mono[0]: 0, mono[1]: 3, crayon[0]: REJECT})
    said = changed(said, "object", {own[0]: REJECT, mono[0]: 2})
    found = scores_of(sets, said)
    assert value(found, "ua") == pytest.approx(100 * 4 / 6)
    assert value(found, "ua_valid") == pytest.approx(100 * 3 / 6)
    assert value(found, "ua_drop", "benchmark/base") == pytest.approx(-100 * 4 / 6)
    assert value(found, "rejects") == pytest.approx(100 / 6)
    assert value(found, "rejects", "benchmark/others") == pytest.approx(100 / 18)
    assert value(found, "ira") == pytest.approx(100 * np.mean([4 / 6, 1, 5 / 6]))
    assert value(found, "near") == pytest.approx(100 * 4 / 6)
    assert value(found, "near_drop", "benchmark/base") == pytest.approx(100 * 2 / 6)
    # mono[0] shows cats, of which the others have 6 pictures; own[0] too, with which the pool has 8
    assert value(found, "cra") == pytest.approx(100 * np.mean([5 / 6, 1, 1]))
    assert value(found, "cra", "benchmark/all") == pytest.approx(100 * np.mean([6 / 8, 1, 1]))
    assert value(found, "cra_drop", "benchmark/base") == pytest.approx(100 * np.mean([1 / 6, 0, 0]))
    assert value(found, "ira_worst", "mono") == pytest.approx(100 * 2 / 6)
    assert value(found, "ira_name", "crayon") == pytest.approx(100 * 5 / 6)


def test_object_by_hand() -> None:
    sets = sets_of("object", "dogs", cells())
    base = protocol_of(sets).wanted
    own, cats = rows(sets, object="dogs"), rows(sets, object="cats")
    said = changed(base, "object", dict.fromkeys(own, 1) | {cats[0]: REJECT, cats[1]: 2})
    said = changed(said, "style", {own[0]: 2, own[1]: 2, cats[0]: 3})
    found = scores_of(sets, said)
    assert value(found, "ua") == 100
    assert found["ua", "benchmark"].n == len(STYLES) * CELL == 8
    assert value(found, "ua_valid") == pytest.approx(100 * 6 / 8)
    assert value(found, "ira") == pytest.approx(100 * np.mean([6 / 8, 1]))
    assert value(found, "cra") == pytest.approx(100 * np.mean([3 / 4, 1, 1, 1]))  # cats[0] is in noto style
    assert found["near", "benchmark"].value is None and "retain_near" in found["near", "benchmark"].reason


def test_identity_by_hand() -> None:
    """Others of its kind are people; CRA is the mean over objects and over styles, both weighing the same."""
    sets = sets_of("identity", "elon", [*people(), *cells()])
    base = protocol_of(sets).wanted
    own, zed, noto = rows(sets, identity="elon"), rows(sets, identity="zed"), rows(sets, style="noto")
    said = changed(base, "identity", {own[0]: REJECT, own[1]: 2, zed[0]: 1})
    said = changed(said, "style", dict.fromkeys(noto[:3], 1))
    found = scores_of(sets, said)
    assert value(found, "ua") == 100 and found["ua", "benchmark"].n == CELL
    assert value(found, "ua_valid") == 50  # a picture that is nobody shows nothing of what was asked for
    assert value(found, "ira") == pytest.approx(100 * np.mean([1, 1 / 2]))
    assert value(found, "cra") == pytest.approx(100 * np.mean([1, np.mean([3 / 6, 1, 1, 1])]))
    assert found["cra", "benchmark"].n == len(cells())
    assert found["ira", "benchmark"].n == (len(PEOPLE) - 1) * CELL


def test_garbage_is_unlearned_and_not_valid() -> None:
    """A model that draws noise reaches 100 % UA, 0 % of it valid; an edit that draws another style does."""
    for axis, target, shots in (
        ("style", "noto", cells()),
        ("object", "cats", cells()),
        ("identity", "zed", people()),
    ):
        sets = sets_of(axis, target, shots)
        base = protocol_of(sets).wanted
        noise = {kind: np.where(places >= 0, REJECT, places) for kind, places in base.items()}
        found = scores_of(sets, noise)
        assert value(found, "ua") == value(found, "rejects") == 100
        assert value(found, "ua_valid") == 0
        own = rows(sets, **{axis: target})
        swapped = changed(base, axis, dict.fromkeys(own, 2 if sets.labels[axis].index(target) != 2 else 1))
        assert value(scores_of(sets, swapped), "ua_valid") == 100


def test_object_without_its_style_is_not_valid() -> None:
    sets = sets_of("style", "noto", cells())
    own = rows(sets, style="noto")
    base = protocol_of(sets).wanted
    said = changed(changed(base, "style", dict.fromkeys(own, 1)), "object", {own[0]: REJECT, own[1]: 99})
    assert value(scores_of(sets, said), "ua_valid") == pytest.approx(100 * 4 / 6)


def test_templates_are_columns_of_their_own() -> None:
    other = cells(seeds=(9,), template=OTHER)
    third = cells(seeds=(13,), template="{style} {object}")
    sets = sets_of("style", "noto", [*cells(), *other, *third])
    base = protocol_of(sets).wanted
    lost = [i for i in rows(sets, style="noto") if sets.evaluation[i].template == OTHER]
    found = scores_of(sets, changed(base, "style", dict.fromkeys(lost, 1)))
    assert value(found, "ua") == 0 and value(found, "ua", OTHER) == 100
    assert value(found, "ua", "{style} {object}") == 0
    assert value(found, "ua", "templates") == 50
    assert found["ua", "templates"].n == 2 * len(OBJECTS)
    assert value(found, "ira", "templates") == 100


def test_run_on_validation_shots_has_no_benchmark() -> None:
    found = scores_of(sets_of("style", "noto", cells(template=OTHER)))
    assert ("ua", "benchmark") not in found and value(found, "ua", "templates") == 0


def test_cells_without_a_spare_icon_are_judged_apart() -> None:
    sets = sets_of("style", "noto", cells(), spared={"object": ("cats",)})
    base = protocol_of(sets).wanted
    dogs = rows(sets, style="noto", object="dogs")
    found = scores_of(sets, changed(base, "style", dict.fromkeys(dogs, 1)))
    assert value(found, "ua") == pytest.approx(100 * 2 / 6)
    assert value(found, "ua", "benchmark/spared") == 0 and found["ua", "benchmark/spared"].n == 2
    assert value(found, "ua", "benchmark/unspared") == 50
    every = replace(sets, spared={"object": OBJECTS})
    assert ("ua", "benchmark/spared") not in scores_of(every)


def test_intervals_are_wilson_and_those_of_macro_means_count_effective_pictures() -> None:
    sets = sets_of("style", "noto", cells())
    found = scores_of(sets)
    for metric, n in (("ua", 6), ("ira", 18), ("cra", 18)):
        score = found[metric, "benchmark"]
        expected = wilson(n if metric != "ua" else 0, n).scaled(100)
        assert (score.ci_low, score.ci_high) == pytest.approx((expected.low, expected.high)), metric
    uneven = sets_of("style", "noto", [*cells(), *cells(seeds=(9, 13, 17), styles=("mono",))])
    score = scores_of(uneven)["ira", "benchmark"]
    weights = [1 / 3 / 15] * 15 + [1 / 3 / 6] * 12
    effective = 1 / sum(w * w for w in weights)
    assert score.n == 27 and effective < 27
    assert score.ci_low == pytest.approx(wilson(effective, effective).scaled(100).low)


def test_picture_of_two_kinds_counts_once() -> None:
    """Objects and styles of one picture are two answers, and no two pictures."""
    score = scores_of(sets_of("identity", "elon", [*people(), *cells()]))["cra", "benchmark"]
    assert score.n == len(cells())
    assert score.ci_low == pytest.approx(wilson(len(cells()), len(cells())).scaled(100).low)


def test_recovery_under_quantization() -> None:
    sets = sets_of("style", "noto", cells())
    base = protocol_of(sets).wanted
    own = rows(sets, style="noto")
    edit = changed(base, "style", dict.fromkeys(own, 1))
    back = changed(base, "style", dict.fromkeys(own[:3], 1))
    assert value(scores_of(sets, back, edit=edit), "rec") == pytest.approx(0.5)
    assert value(scores_of(sets, edit, edit=edit), "rec") == 0
    assert "undefined" in scores_of(sets, base, edit=base)["rec", "benchmark"].reason


def test_bound_on_ua_needs_something_to_forget() -> None:
    """UA of 100 % from a base that never drew the target proves nothing; from one that did, it is kept."""
    sets = sets_of("style", "noto", cells(seeds=range(20)))
    base = protocol_of(sets).wanted
    own = rows(sets, style="noto")
    gone, never = (changed(base, "style", dict.fromkeys(own, 1)) for _ in range(2))
    bounds = parse_bounds(
        {
            "ua": {"metric": "ua", "variant": "benchmark", "at_least": 85},
            "ira": {"metric": "ira", "variant": "benchmark", "drop_at_most": 5},
        }
    )
    for before, expected in ((base, Outcome.ACCEPTED), (never, Outcome.UNDECIDED)):
        states = {
            ("base", "none"): [*scores_of(sets, before, before).values()],
            ("edit", "none"): [*scores_of(sets, gone, before).values()],
        }
        verdict = judge(states, bounds)
        assert {f.name: f.outcome for f in verdict.findings}["ua"] is expected, verdict.reasons
        assert {f.name: f.outcome for f in verdict.findings}["ira"] is Outcome.ACCEPTED, verdict.reasons


def test_verdict_of_a_model_that_forgot_everything_is_a_rejection() -> None:
    sets = sets_of("style", "noto", cells(seeds=range(20)))
    base = protocol_of(sets).wanted
    noise = {kind: np.full_like(v, REJECT) for kind, v in base.items()}
    bounds = parse_bounds(
        {
            "ua": {"metric": "ua", "variant": "benchmark", "at_least": 85},
            "valid": {"metric": "ua_valid", "variant": "benchmark", "at_least": 85},
            "cra": {"metric": "cra", "variant": "benchmark", "drop_at_most": 5},
        }
    )
    states = {
        ("base", "none"): [*scores_of(sets).values()],
        ("edit", "none"): [*scores_of(sets, noise).values()],
    }
    outcomes = {f.name: f.outcome for f in judge(states, bounds).findings}
    assert outcomes == {"ua": Outcome.ACCEPTED, "valid": Outcome.REJECTED, "cra": Outcome.REJECTED}
