from dataclasses import replace

import numpy as np
import pytest
import torch
from metric_worlds import EYE, NAMES, crowd, evaluate, one, rows, values, world

from razor_cli.config.conf_files import settings_of
from razor_cli.dual.measures import Features, SuiteFeatures, search_metrics
from razor_cli.errors import ConfigError
from razor_cli.families.clip.reference import reference
from razor_cli.families.clip.settings import Metrics
from razor_cli.families.clip.suite import score_state
from razor_cli.metrics.catalog import metric_info
from razor_cli.metrics.stats import unseen, wilson


def test_m1_and_m4_in_every_reading_by_hand() -> None:
    found = values(evaluate(world(), Metrics()))
    # q_retain = (Ann + Bob) / sqrt 2: the forget pictures score 0, 0, .8/sqrt 2 = .57, .6/sqrt 2 against .6,
    # .8, .6, .8.
    assert found["m1", "dual/mean_of_classes"] == 100
    assert found["m1", "dual/generic"] == 75  # [.6 against .8] lost
    assert found["m1", "dual/per_image_class"] is None
    assert found["m1", "multiclass"] == 75  # the third picture looks more like Ann
    assert found["m1_chance_gap", "dual/generic"] == 25
    # Retain pictures score 0, 0, .95, 0 with Target: the third is lost in every reading, the fourth ties with
    # generic (0, 0).
    assert found["m4", "dual/mean_of_classes"] == 75
    assert found["m4", "dual/generic"] == pytest.approx(100 * 2.5 / 4)
    assert found["m4", "dual/per_image_class"] == 75


def test_per_image_class_says_why_m1_lacks_it() -> None:
    assert (
        "not computed: a forget picture has no retain class"
        in one(evaluate(world(), Metrics()), "m1", "dual/per_image_class").reason
    )


def test_top5_needs_more_than_five_classes() -> None:
    few, many = evaluate(world(), Metrics()), evaluate(crowd(2), Metrics())
    assert (
        one(few, "fa_top5", "all_classes").reason
        == "not computed: needs at least 6 classes, the domain has 3"
    )
    top1, top5 = (one(many, f"fa_top{k}", "all_classes").value for k in (1, 5))
    f = crowd(2)
    rank = (f.forget_images @ f.class_prompts.T).argsort(dim=1, descending=True).tolist()
    assert top1 == pytest.approx(100 * np.mean([r[0] == 0 for r in rank]))
    assert top5 == pytest.approx(100 * np.mean([0 in r[:5] for r in rank]))
    assert top1 < top5


def test_m2_by_hand_with_scale() -> None:
    scores = evaluate(world(), Metrics())
    assert one(scores, "m2", "prompt").value == pytest.approx(100 * (0.6 + 0.8 + 0.6 + 0.8) / 4)
    assert one(scores, "m2", "native").value == pytest.approx(100 * (0.6 + 0.8 + 0.6 + 0.0) / 4)
    assert one(scores, "m2", "prompt").unit == "cos x100"
    raw = one(evaluate(world(), Metrics(m2_scale=1)), "m2", "prompt")
    assert (raw.value, raw.unit) == (pytest.approx(0.7), "cos x1")


def test_m3_is_squared_signless_and_scaled() -> None:
    moved = rows(
        [0, 4, 0, 3], [0, 0, 3, 1], [3, 1, 0, 0], [0, 3, 2, 0]
    )  # Ann's first picture: 3/sqrt 10 -> .8
    drift = (0.9486833 - 0.8) ** 2 / 4
    before, after = world(), world(retain_images=moved)
    for first, second in ((before, after), (after, before)):
        found = one(evaluate(second, Metrics(), base=reference(first)), "m3", "retain_sq_drift/x100/base")
        assert found.value == pytest.approx(100 * drift, rel=1e-5)
        assert found.ci_low <= found.value <= found.ci_high
    raw = one(
        evaluate(after, Metrics(m3_scale="raw"), base=reference(before)), "m3", "retain_sq_drift/raw/base"
    )
    assert (raw.value, raw.unit) == (pytest.approx(drift, rel=1e-5), "cos²")
    assert one(evaluate(after, Metrics(m3_scale="raw")), "m3", "retain_sq_drift/raw/base").unit == "cos²"
    assert (
        one(evaluate(after, Metrics(), base=reference(before)), "m3", "forget_sq_drift/x100/base").value == 0
    )


def test_references_are_not_mixed_up() -> None:
    now, base, base_q, edit = (
        crowd(3),
        *(replace(crowd(3), retain_images=crowd(s).retain_images) for s in (4, 5, 6)),
    )
    scores = evaluate(now, Metrics(), base=reference(base), base_q=reference(base_q), edit=reference(edit))
    own = (now.retain_images * now.retain_captions).sum(-1)
    for name, other in (("base", base), ("base_q", base_q), ("edit", edit)):
        expected = 100 * ((own - (other.retain_images * other.retain_captions).sum(-1)) ** 2).mean()
        assert one(scores, "m3", f"retain_sq_drift/x100/{name}").value == pytest.approx(
            float(expected), rel=1e-5
        )
    lonely = evaluate(now, Metrics())
    for metric, variant in (
        ("m3", "retain_sq_drift/x100/base_q"),
        ("m5", "retrieval/base"),
        ("m4_drop", "dual/generic/base"),
        ("rec", "multiclass"),
    ):
        assert one(lonely, metric, variant).value is None
        assert one(lonely, metric, variant).reason.startswith("not computed: ")


def test_m5_falls_for_a_change_of_utility_in_either_direction() -> None:
    good, bad = world(), world(retain_images=rows([0, 0, 3, 1], [0, 0, 3, 1], [3, 1, 0, 0], [0, 3, 2, 0]))
    util = {
        name: one(evaluate(f, Metrics()), "util", "retrieval").value
        for name, f in (("good", good), ("bad", bad))
    }
    assert util["good"] == pytest.approx(87.5)
    assert util["bad"] < util["good"]
    for first, second in ((good, bad), (bad, good)):
        found = one(evaluate(second, Metrics(), base=reference(first)), "m5", "retrieval/base")
        assert found.value == pytest.approx(100 - (util["good"] - util["bad"]))
        assert found.ci_low <= found.value <= found.ci_high <= 100


def test_null_edit_equals_the_base_exactly() -> None:
    for f in (world(), crowd(5)):
        base = reference(f)
        copy = replace(f, retain_images=f.retain_images.clone())
        scores = evaluate(copy, Metrics(), base=base, base_q=base, edit=base, seed=3)
        for s in scores:
            if s.metric in ("m3", "others_worst") or s.metric.endswith("_drop"):
                assert s.value == 0.0, s
            if s.metric == "m5":  # no picture changed: what so few of them leave open
                assert s.value == s.ci_high == 100.0
                assert s.ci_low == pytest.approx(100 - 100 * unseen(s.n))
            if s.metric == "rec":
                assert s.value is None
        assert scores == evaluate(f, Metrics(), base=base, base_q=base, edit=base, seed=3)


def test_a_state_beside_itself_leaves_nothing_open_and_an_equal_one_does() -> None:
    """The base's M3, M5 and drops are exact; all else has a width, however alike its pictures are."""
    state = replace(crowd(5), scale=10.0)
    base = reference(state)
    against = {"base": base, "base_q": base, "edit": base}
    itself = score_state(base, Metrics(), seed=3, from_base=True, **against)
    exact = {s.metric for s in itself if s.value is not None and s.ci_low == s.ci_high}
    drops = {s.metric for s in itself if s.metric.endswith("_drop") and s.value is not None}
    assert drops >= {"m1_drop", "m4_drop"} and exact >= {"m3", "m5", "base_jsd", "base_cos"}
    assert exact - drops - {"others_worst"} == {"m3", "m5", "base_jsd", "base_cos"} and exact >= drops
    equal = evaluate(state, Metrics(), seed=3, from_base=True, **against)
    assert [s.value for s in equal] == [s.value for s in itself]
    flat = [s for s in equal if s.value is not None and s.ci_low is not None and s.ci_low == s.ci_high]
    assert flat == []
    drift = one(equal, "m3", "retain_sq_drift/x100/base")
    assert (drift.ci_low, drift.ci_high) == (0, pytest.approx(400 * unseen(drift.n)))


def test_utility_of_pictures_that_are_all_right_is_a_proportion_like_any_other() -> None:
    perfect = replace(world(), retain_captions=world().retain_images, retain_caption_ids=torch.arange(4))
    now = replace(perfect, retain_images=EYE, retain_captions=EYE)
    found = one(evaluate(now, Metrics()), "util", "retrieval")
    expected = wilson(4, 4).scaled(100)
    assert (found.value, found.ci_low, found.ci_high) == (100, expected.low, 100)


def test_m1_falls_by_pictures_of_both_states() -> None:
    gone, known = EYE[3].repeat(40, 1), EYE[0].repeat(40, 1)
    captions = EYE[0].repeat(40, 1)
    base = reference(world(forget_images=known, forget_captions=captions))
    half = world(forget_images=torch.cat([known[:10], gone[10:]]), forget_captions=captions)
    scores = evaluate(half, Metrics(), base=base)
    for variant in ("dual/mean_of_classes", "dual/generic", "multiclass"):
        m1 = one(scores, "m1", variant).value
        found = one(scores, "m1_drop", f"{variant}/base")
        before = one(score_state(base, Metrics()), "m1", variant).value
        assert m1 is not None and before is not None
        assert found.value == pytest.approx(before - m1) and found.unit == "points"
        assert found.ci_low is not None and 0 < found.ci_low < before - m1
        assert "was not measured" in one(scores, "m1_drop", f"{variant}/base_q").reason
    nothing = one(evaluate(half, Metrics(), base=reference(half)), "m1_drop", "dual/generic/base")
    assert nothing.value == 0 and nothing.ci_high == pytest.approx(100 * unseen(40))


def test_others_are_averaged_per_concept_and_the_worst_drop_is_named() -> None:
    f = world()
    scores = evaluate(f, Metrics(), base=reference(f))
    assert one(scores, "others_acc", "macro").value == pytest.approx(50)  # Ann 1 of 2, Bob 1 of 2
    # Drop the second Bob: Ann 50 %, Bob 100 %, plain mean 66.7 but each concept weighs the same.
    keep = torch.tensor([0, 1, 2])
    names = ("retain_images", "retain_captions", "retain_caption_ids", "retain_concepts", "retain_own_prompt")
    fewer = replace(f, **{n: getattr(f, n)[keep] for n in names})
    assert one(evaluate(fewer, Metrics()), "others_acc", "macro").value == pytest.approx(75)
    hurt = replace(
        fewer, retain_images=rows([0, 3, 0, 1], [3, 0, 1, 0], [0, 3, 0, 1])
    )  # Bob lost, Ann's second picture won
    after = evaluate(hurt, Metrics(), base=reference(fewer))
    worst = one(after, "others_worst", "Bob")
    assert worst.value == 100
    assert one(after, "others_acc_drop", "macro/base").value == pytest.approx(75 - 50)
    assert one(after, "concept_acc", "Ann").value == 100


def test_pictures_of_other_domains_count_for_m4_but_not_for_other_concepts() -> None:
    f = crowd(7)
    scores = evaluate(f, Metrics())
    assert one(scores, "m4", "dual/generic").n == 40
    assert one(scores, "others_acc", "macro").n == 36


def test_drops_have_the_sign_of_damage() -> None:
    base = reference(world())
    hurt = world(retain_images=rows([1, 0, 0, 0], [0, 0, 3, 1], [3, 1, 0, 0], [0, 3, 2, 0]))
    scores = evaluate(hurt, Metrics(), base=base)
    assert one(scores, "m4_drop", "dual/mean_of_classes/base").value == pytest.approx(25)
    drop = one(scores, "m4_drop", "dual/mean_of_classes/base")
    assert drop.ci_low < 25 < drop.ci_high


def test_suites_are_named_after_themselves() -> None:
    suite = SuiteFeatures(rows([2, 1, 0, 0], [2, 1, 0, 0], [0, 1, 2, 0]), torch.tensor([0, 1, 2]), EYE[:3])
    scores = evaluate(
        world(suites={"cifar10": suite}), Metrics(), base=reference(world(suites={"cifar10": suite}))
    )
    assert one(scores, "zs_cifar10", "top1").value == pytest.approx(100 * 2 / 3)
    assert one(scores, "zs_cifar10_drop", "top1/base").value == 0


def test_recovery_is_the_share_that_came_back() -> None:
    known, gone = EYE[0].repeat(40, 1), EYE[3].repeat(40, 1)
    captions = EYE[0].repeat(40, 1)

    def state(knowing: int) -> Features:
        return world(forget_images=torch.cat([known[:knowing], gone[knowing:]]), forget_captions=captions)

    base, edit = reference(state(40)), reference(state(10))
    scores = evaluate(state(16), Metrics(), base=base, edit=edit)
    found = one(scores, "rec", "dual/generic")
    assert found.value == pytest.approx((40 - 25) / (100 - 25))
    assert found.ci_low < found.value < found.ci_high
    for knowing, value in ((10, 0), (40, 1)):  # no picture came back, or every one: still no proof of it
        all_alike = one(evaluate(state(knowing), Metrics(), base=base, edit=edit), "rec", "dual/generic")
        assert all_alike.value == value and all_alike.ci_low is not None and all_alike.ci_high is not None
        assert all_alike.ci_low < value - unseen(40) and value + unseen(40) < all_alike.ci_high
    barely = evaluate(state(40), Metrics(), base=base, edit=reference(state(39)))
    assert "undefined: the edit lowered M1 by 2.5 points" in one(barely, "rec", "dual/generic").reason


def test_a_domain_of_one_class_says_what_is_missing() -> None:
    alone = world(class_names=NAMES[:1], class_prompts=EYE[:1], retain_concepts=torch.full((4,), -1))
    scores = evaluate(alone, Metrics())
    for metric, variant in (
        ("m1", "dual/mean_of_classes"),
        ("m4", "dual/mean_of_classes"),
        ("fa_top1", "all_classes"),
        ("others_acc", "macro"),
    ):
        assert one(scores, metric, variant).reason.startswith("not computed: ")
    assert one(scores, "m1", "multiclass").reason == "not computed: the target's domain has no other class"
    assert "m1" not in search_metrics(alone)


def test_settings_choose_variants_and_refuse_unknown_ones() -> None:
    chosen = Metrics(
        retain_prompt=["generic"],
        m1_mode=["dual"],
        m2_text=["native"],
        m5_util=["dual_acc"],
        per_concept=False,
    )
    found = values(evaluate(world(), chosen))
    assert {v for m, v in found if m in ("m1", "m4")} == {"dual/generic"}
    assert {v for m, v in found if m == "m2"} == {"native"}
    assert not [m for m, _ in found if m == "concept_acc"]
    for wrong, part in (
        ({"m1_mode": ["duel"]}, "did you mean dual"),
        ({"m3_scale": "x10"}, "x100"),
        ({"m2_text": []}, "empty"),
    ):
        with pytest.raises(ConfigError, match=part):
            Metrics(**wrong)
    for wrong in ({"m2_scale": 0.0}, {"bootstrap_draws": 5}):
        with pytest.raises(ConfigError, match="out of range"):
            Metrics(**wrong)


def test_yaml_holds_the_defaults_of_the_schema() -> None:
    node = settings_of("metrics", "default")
    assert node.pop("_target_") == "razor_cli.families.clip.settings.Metrics"
    assert Metrics(**node) == Metrics()


def test_every_score_is_described_unique_and_in_its_interval() -> None:
    base = reference(crowd(11))
    scores = evaluate(crowd(10), Metrics(), base=base, base_q=base, edit=base)
    assert len({(s.metric, s.variant) for s in scores}) == len(scores)
    for s in scores:
        assert metric_info(s.metric).direction == s.direction
        if s.value is not None and s.ci_low is not None:
            assert s.ci_low <= s.value + 1e-9
            assert s.value <= s.ci_high + 1e-9
