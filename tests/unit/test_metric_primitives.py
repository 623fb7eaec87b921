import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from metric_worlds import EYE, NAMES, crowd, evaluate, one, rows, values, world
from torch.nn import functional as F

from razor_cli.dual.measures import dual_wins, retrieval_hits, search_metrics, top_k_hits
from razor_cli.errors import RunError
from razor_cli.families.clip.membership import placements
from razor_cli.families.clip.reference import reference
from razor_cli.families.clip.settings import Metrics


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_swapping_the_prompts_turns_m1_round(seed: int) -> None:
    f = crowd(seed, classes=2)  # with one retain class, q_retain is its prompt
    swapped = replace(f, class_prompts=f.class_prompts.flip(0))
    there, back = (
        one(evaluate(w, Metrics(bootstrap_draws=100)), "m1", "dual/mean_of_classes").value
        for w in (f, swapped)
    )
    assert there + back == pytest.approx(100, abs=1e-12)


def test_equal_prompts_are_a_coin_and_not_a_loss() -> None:
    f = crowd(0)
    same = replace(f, generic_prompt=f.class_prompts[0])
    found = values(evaluate(same, Metrics()))
    assert found["m1", "dual/generic"] == found["m4", "dual/generic"] == 50
    assert found["m1_chance_gap", "dual/generic"] == 0


def test_dual_wins_takes_one_prompt_or_one_per_picture() -> None:
    f = crowd(1)
    target = f.class_prompts[0]
    each = target.expand_as(f.forget_images)
    assert torch.equal(
        dual_wins(f.forget_images, each, f.generic_prompt),
        dual_wins(f.forget_images, target, f.generic_prompt),
    )


def test_rank_of_the_own_class_survives_ties_and_rounding() -> None:
    images, prompts = rows([1, 1, 0, 0], [1, 1, 1, 0]), EYE[:3]
    assert top_k_hits(images, prompts, torch.tensor([0, 2]), 1).tolist() == pytest.approx([1 / 2, 1 / 3])
    assert top_k_hits(images, prompts, torch.tensor([2, 2]), 2).tolist() == pytest.approx([0, 2 / 3])
    # Nearly equal rows in float32: a score computed outside the product would differ from its own column by
    # rounding.
    g = torch.Generator().manual_seed(0)
    base = F.normalize(torch.randn(1, 512, generator=g), dim=-1)
    near = F.normalize(base + 1e-4 * torch.randn(300, 512, generator=g), dim=-1)
    labels = (near @ near.T).argmax(dim=1)
    assert bool((top_k_hits(near, near, labels, 1) > 0).all())


def test_auc_by_hand_and_its_direction() -> None:
    by_hand = placements(torch.tensor([3.0, 1.0]), torch.tensor([2.0, 1.0, 0.0])).auc
    assert by_hand == pytest.approx((3 + 1.5) / 6)
    scores = evaluate(crowd(1), Metrics())
    assert one(scores, "mia_auc", "own_caption").n == 9
    f = crowd(1)
    perfect = replace(f, member_images=f.member_captions, forget_images=-f.forget_captions)
    assert one(evaluate(perfect, Metrics()), "mia_auc", "own_caption").value == 100
    assert (
        one(evaluate(perfect, Metrics()), "mia_auc", "own_caption").ci_low < 80
    )  # nine pictures prove little
    assert "saw" in one(evaluate(world(), Metrics()), "mia_auc", "own_caption").reason


def test_retrieval_accepts_every_picture_of_a_caption() -> None:
    f = world()
    # To text: Ann ok, Bob ok, third (.95 Target, .32 Ann, 0 Bob) still finds Ann among the two captions,
    # fourth finds Ann: wrong. To image: caption Ann -> picture 0 (.95), caption Bob -> picture 1 (.95): right
    # for all pictures of both captions.
    assert retrieval_hits(f.retain_images, f.retain_captions, f.retain_caption_ids).tolist() == [1, 1, 1, 0.5]
    # As captions of their own, a picture must be found itself: 2 and 3 are not the best of their caption's
    # text.
    apart = retrieval_hits(f.retain_images, f.retain_captions, torch.arange(4))
    assert apart.tolist() == [0.75, 0.75, 0.25, 0.0]


def test_search_metrics_agree_with_the_full_scores() -> None:
    f, base = crowd(8), crowd(9)
    full = evaluate(f, Metrics(), base=reference(replace(base, suites=f.suites)))
    fast = search_metrics(f, search_metrics(base)["util"])
    names = {
        "m1": ("m1", "dual/mean_of_classes"),
        "m1_generic": ("m1", "dual/generic"),
        "m2": ("m2", "prompt"),
        "m4_generic": ("m4", "dual/generic"),
        "util": ("util", "retrieval"),
        "m5": ("m5", "retrieval/base"),
    }
    assert set(fast) == set(names)
    for key, (metric, variant) in names.items():
        assert fast[key] == pytest.approx(one(full, metric, variant).value, abs=1e-3), key
    assert search_metrics(base)["m5"] == 100


def test_broken_embeddings_are_refused_and_never_look_good_to_a_search() -> None:
    broken = world(
        retain_images=torch.full((4, 4), float("nan")), forget_images=torch.full((4, 4), float("nan"))
    )
    with pytest.raises(RunError, match="not finite"):
        evaluate(broken, Metrics())
    found = search_metrics(broken, 87.5)
    assert found["util"] == 0
    assert found["m5"] == 12.5
    for key in ("m1", "m1_generic", "m2", "m4_generic"):
        assert math.isnan(found[key]), key


def test_inputs_that_cannot_be_right_are_refused() -> None:
    with pytest.raises(ValueError, match="L2-normalised"):
        evaluate(world(forget_images=2 * EYE), Metrics())
    with pytest.raises(ValueError, match="concept 0"):
        evaluate(world(retain_concepts=torch.tensor([1, 2, 0, 2])), Metrics())
    with pytest.raises(ValueError, match="other pictures"):
        evaluate(world(), Metrics(), base=reference(crowd(0)))
    with pytest.raises(ValueError, match="class names"):
        world(class_names=NAMES[:2])
    with pytest.raises(ValueError, match="retain_captions has shape"):
        world(retain_captions=EYE[:3])


def test_retrieval_shares_a_tie_between_pictures() -> None:
    twins = rows([1, 0, 0, 0], [1, 0, 0, 0])  # one look, two captions: the text finds either
    assert retrieval_hits(twins, EYE[:2], torch.arange(2)).tolist() == [(1 + 0.5) / 2, (0 + 0.5) / 2]
