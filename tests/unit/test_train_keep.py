"""Which epoch of a training becomes the edit."""

from __future__ import annotations

import pytest
from presets import preset
from tiny_world import make_clip, make_sets, run

from razor_cli.dual.goals import GOALS
from razor_cli.engine.choices import Keep
from razor_cli.engine.search import Aim
from razor_cli.engine.train_keep import Choice, TracingAim
from razor_cli.engine.train_settings import TARGET
from razor_cli.errors import ConfigError


def metrics(**changes: float) -> dict[str, float]:
    found = {
        "m1": 50.0,
        "m1_generic": 50.0,
        "margin": -1.0,
        "margin_generic": -1.0,
        "m4_generic": 98.0,
        "m5": 99.0,
        "util": 90.0,
    }
    return found | changes


def aim(**changes: float) -> Aim:
    """Return the default Target against an unedited model with these metrics."""
    return Aim.against(metrics(**changes), GOALS, TARGET, {})


def test_shortfall_is_zero_exactly_on_target_and_grows_with_each_part() -> None:
    plain = aim(m4_generic=100.0)
    assert plain.shortfall(metrics()) == 0
    for worse in ({"m1": 60.0}, {"m1_generic": 60.0}, {"m4_generic": 97.0}, {"util": 87.0}):
        assert plain.shortfall(metrics(**worse)) > 0
    measured = aim(m4_generic=100.0, util=90.0)
    assert measured.shortfall(metrics(util=95.0, m5=95.0)) == 0  # a gain is no harm
    assert measured.shortfall(metrics(util=85.0, m5=95.0)) == pytest.approx(3.0)
    assert plain.shortfall(metrics(others=96.0)) == 0  # the unedited sets had no other concepts
    with_others = aim(m4_generic=100.0, others=99.0)
    assert with_others.shortfall(metrics(others=96.0)) == 0
    assert with_others.shortfall(metrics(others=94.0)) == pytest.approx(2.0)
    assert plain.shortfall(metrics(m1=100.0, margin=5.0)) > plain.shortfall(metrics(m1=100.0, margin=4.0))


def test_keep_rules_choose_their_epoch() -> None:
    seen = [
        metrics(m1=100.0, fa_top1=90.0, label_accuracy=10.0),
        metrics(fa_top1=40.0, label_accuracy=80.0),
        metrics(fa_top1=10.0, m5=20.0, label_accuracy=60.0),
        metrics(fa_top1=10.0, m5=10.0, label_accuracy=80.0),
    ]

    def kept(rule: Keep) -> int:
        choice = Choice(rule=rule, aim=aim(m4_generic=100.0))
        for number, found in enumerate(seen, 1):
            choice.offer(number, found, {})
        return choice.epoch

    assert [kept(k) for k in Keep] == [
        2,
        4,
        3,
        4,
    ]  # closest, last, lowest forget, highest label accuracy (the later of equals)


UNEDITED = {"df_coarse": 86.20, "df_fine": 93.40, "dr_coarse": 50.88, "dr_fine": 65.55}  # Tan & Gong, Table 2
GA, GDIFF, NPO = ((1.0, 0.0, 7.8, 1.57), (69.6, 0.0, 40.54, 9.3), (88.0, 8.0, 49.33, 53.91))


def traced_metrics(row: tuple[float, ...]) -> dict[str, float]:
    return metrics(m1=100.0, m5=0.0, margin=-1.0, margin_generic=-1.0) | dict(
        zip(UNEDITED, (row[0], row[1], row[2], row[3]), strict=True)
    )


def test_with_a_taxonomy_the_target_is_quality_and_utility() -> None:
    found = TracingAim.of(UNEDITED, {"quality": 80.0, "utility": 90.0})
    assert found is not None
    assert (
        found.shortfall(traced_metrics(NPO)) == 0
    )  # Q 91.43, U 93.07: M1 and M5, which are at their worst, do not count
    assert found.shortfall(traced_metrics(GA)) == pytest.approx(90 - 6.30, abs=0.02)
    assert found.shortfall(traced_metrics(GDIFF)) == pytest.approx(90 - 58.21, abs=0.02)
    assert found.shortfall(UNEDITED) == pytest.approx(80)
    before, nearer = (
        UNEDITED | metrics(margin=m, margin_generic=-1.0) for m in (8.0, 5.0)
    )  # no picture has changed sides yet
    assert 80 < found.shortfall(nearer) < found.shortfall(before) < 81
    choice = Choice(rule=Keep.CLOSEST_TO_TARGET, aim=aim(), tracing=found)
    for number, row in enumerate((GA, GDIFF, NPO), 1):
        choice.offer(number, traced_metrics(row), {})
    assert choice.epoch == 3


def test_a_level_that_the_unedited_model_never_gets_right_leaves_the_target_to_m1() -> None:
    assert TracingAim.of(UNEDITED | {"dr_coarse": 0.0}, TARGET) is None
    assert TracingAim.of(metrics(), TARGET) is None


def test_highest_label_accuracy_needs_labels() -> None:
    with pytest.raises(ConfigError, match="assigns no labels"):
        run(preset("ga", keep="highest_label_accuracy"), make_clip(), make_sets())
