"""What objectives of trained methods ask for: batches, their labels, and the precision of the towers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from presets import preset
from tiny_world import Noise, make_clip, make_sets, run

from razor_cli.data.sets import Pairs
from razor_cli.dual.desk import Desk
from razor_cli.dual.samples import Samples
from razor_cli.engine.choices import Precision
from razor_cli.engine.lab import Lab
from razor_cli.engine.train_settings import Trained
from razor_cli.engine.train_state import generator_of
from razor_cli.errors import ConfigError

EMPTY = Pairs((), {})


def test_batches_walk_once_through_the_set_and_leave_no_lone_pair() -> None:
    desk = Desk(Lab(family=make_clip(), sets=make_sets()), Trained())
    parts = desk.retain.shuffled(31, generator_of(0, 1))
    assert [len(p) for p in parts] == [32]
    assert sorted(torch.cat(desk.retain.shuffled(10, generator_of(0, 1))).tolist()) == list(range(32))
    assert Samples(desk, EMPTY).shuffled(4, generator_of(0, 1)) == []


def test_a_batch_holds_its_own_pictures_captions_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    model, sets = make_clip(), make_sets()
    desk = Desk(Lab(family=model, sets=sets), Trained())
    index = torch.tensor([7, 2, 30])
    drawn = desk.retain.take(index)
    pictures = [sets.retain.pictures[i] for i in index.tolist()]
    assert torch.equal(drawn.pixels, model.preprocess(Noise().load(pictures)))
    assert torch.equal(
        drawn.tokens[drawn.rows], model.tokenize([sets.retain.captions[i] for i in index.tolist()])
    )
    assert [sets.class_names[c] for c in drawn.labels.tolist()] == [p.concept for p in pictures]
    monkeypatch.setattr("razor_cli.dual.pixels.KEPT", 10)  # too large to keep: loaded for each batch
    assert torch.equal(Samples(desk, sets.retain).take(index).pixels, drawn.pixels)


def test_pictures_of_another_domain_get_a_class_of_their_own() -> None:
    sets = make_sets()
    foreign = replace(sets.retain.pictures[0], domain="emoji", concept="owl", key="owl/1")
    source = sets.retain.sources["person"]
    sets = replace(
        sets, retain=Pairs((foreign, *sets.retain.pictures[1:], foreign), {"person": source, "emoji": source})
    )
    desk = Desk(Lab(family=make_clip(), sets=sets), Trained())
    assert len(desk.joint) == len(sets.class_names) + 1
    assert desk.retain.labels[0] == -1 and desk.joint.labels[0] == desk.joint.labels[-1] == len(
        sets.class_names
    )
    index = torch.tensor([3, 0])
    logits, labels = desk.joint.logits(torch.randn(2, 16), index)
    assert logits.shape == (2, 7) and labels.tolist() == [desk.retain.labels[3], 6]


def test_bf16_computes_the_towers_coarsely_and_returns_fp32() -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(family=model, sets=sets)
    exact, coarse = (Desk(lab, Trained(precision=p)) for p in (Precision.FP32, Precision.BF16))
    pixels = exact.forget.pixels(torch.arange(4))
    a, b = exact.encode_image(pixels), coarse.encode_image(pixels)
    assert a.dtype == b.dtype == torch.float32
    assert not torch.equal(a, b) and torch.allclose(a, b, atol=0.05)
    assert run(preset("ga", precision="bf16", epochs=2), model, sets).values


def test_a_sample_of_the_retain_pictures_is_drawn_anew_for_each_epoch() -> None:
    model, sets = make_clip(), make_sets()
    lab = Lab(family=model, sets=sets)
    method = preset("ft", epochs=2, batch=4, retain_sample=6)
    seen = [torch.cat(Desk(lab, method).retain.shuffled(4, generator_of(0, n), 6)).tolist() for n in (1, 2)]
    assert all(len(s) == 6 == len(set(s)) for s in seen) and set(seen[0]) != set(seen[1])
    method.edit(lab)
    assert lab.cost.backwards == 12
    with pytest.raises(ConfigError, match=r"method\.retain_sample"):
        preset("ft", retain_sample=0)
